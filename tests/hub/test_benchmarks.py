"""A published benchmark version is for ever what it was."""

import pytest

from federation_hub.benchmarks.service import BENCHMARK
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import message_digest
from tests.hub.federation import Federation, definition


def test_anybody_reads_what_was_published_word_for_word(federation: Federation) -> None:
    """The definition and the digest that names it need no token."""
    published = federation.publish()
    answer = federation.anybody.get("/benchmarks/chest_phantom/1").get_json()
    assert answer["digest"] == message_digest(published)
    assert answer["definition"] == published.model_dump(mode="json")
    assert federation.anybody.get("/benchmarks/chest_phantom").get_json() == answer
    assert [row["name"] for row in federation.anybody.get("/benchmarks").get_json()["benchmarks"]] == ["chest_phantom"]


def test_a_published_version_cannot_change(federation: Federation) -> None:
    """Another text under the same number is refused; the same text again is not."""
    federation.publish()
    answer = federation.admin.post("/benchmarks", definition(title="Another title"))
    assert (answer.status_code, answer.get_json()["code"]) == (409, "benchmark-immutable")
    assert federation.admin.post("/benchmarks", definition()).status_code == 201
    assert federation.anybody.get("/benchmarks/chest_phantom").get_json()["definition"]["title"] == definition().title


def test_a_new_version_supersedes_the_old_one(federation: Federation) -> None:
    """The old one stays readable and says that it was superseded."""
    federation.publish()
    federation.publish(version=2, title="Second")
    newest = federation.anybody.get("/benchmarks/chest_phantom").get_json()
    old = federation.anybody.get("/benchmarks/chest_phantom/1").get_json()
    assert (newest["definition"]["version"], newest["state"], newest["versions"]) == (2, "published", [1, 2])
    assert old["state"] == "superseded"


def test_versions_only_go_up(federation: Federation) -> None:
    """Nobody slips a version in before the newest."""
    federation.publish(version=3)
    assert federation.admin.post("/benchmarks", definition(version=2)).get_json()["code"] == "state-conflict"


def test_a_benchmark_belongs_to_who_published_it_first(federation: Federation) -> None:
    """Another organisation's owner publishes under another name."""
    federation.publish()
    other = federation.person("Bo", "benchmark-owner")
    assert other.post("/benchmarks", definition(version=2)).get_json()["code"] == "not-permitted"
    assert other.post("/benchmarks", definition(name="other_phantom")).status_code == 201


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"preparation": [{"name": "Lambda", "args": {}}]}, "transform-unknown"),
        ({"preparation": [{"name": "Resized", "args": {"func": "os.system"}}]}, "transform-argument-invalid"),
    ],
)
def test_a_benchmark_no_site_could_prepare_is_not_published(
    federation: Federation, changes: dict[str, object], code: str
) -> None:
    """Its preparation is checked against the list of transforms, as a bundle's is."""
    assert federation.admin.post("/benchmarks", definition(**changes)).get_json()["code"] == code
    assert federation.anybody.get("/benchmarks").get_json() == {"benchmarks": [], "next": None}


ORDINARY = {"name": "one", "title": "One", "opens": "2027-01-01T00:00:00Z", "closes": "2027-02-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"metrics": [{"name": "f1_score", "primary": True}]}, "metric-unknown"),
        ({"metrics": [{"name": "dice", "primary": True}]}, "metric-unknown"),
        ({"phases": [ORDINARY | {"closes": "2026-12-31T00:00:00Z"}]}, "phase-dates"),
        ({"phases": [ORDINARY, ORDINARY | {"name": "two", "opens": "2026-12-01T00:00:00Z"}]}, "phase-dates"),
        ({"phases": [ORDINARY | {"parent": "none"}]}, "phase-unknown"),
        ({"phases": [ORDINARY, ORDINARY]}, "benchmark-invalid"),
        ({"metrics": [{"name": "auroc", "primary": True, "floor": 1.5}]}, "benchmark-invalid"),
        ({"phases": [ORDINARY | {"opens": "2027-01-01T00:00:00"}]}, "malformed-message"),
        ({"phases": [ORDINARY | {"ladder": 0}]}, "malformed-message"),
        ({"submissions": {"a_day": 0}}, "malformed-message"),
    ],
)
def test_a_benchmark_that_does_not_hold_is_refused_with_its_code(
    federation: Federation, changes: dict[str, object], code: str
) -> None:
    """Whatever sends it; nothing is published, and no value is repeated."""
    body = definition().model_dump(mode="json") | changes
    answer = federation.admin.post("/benchmarks", body)
    assert (answer.status_code, answer.get_json()["code"]) == (422, code)
    assert "f1_score" not in answer.text
    assert federation.anybody.get("/benchmarks").get_json()["benchmarks"] == []


def test_a_definition_is_refused_by_declared_names_only(federation: Federation) -> None:
    """What the sender made up is not repeated, neither a value nor a name."""
    body = {**definition().model_dump(mode="json"), "doe_jane": 1, "version": "secret"}
    body["preparation"] = [{"name": "bad name", "args": {}, "born_1970": 1}]
    answer = federation.admin.post("/benchmarks", body)
    assert answer.get_json()["code"] == "malformed-message"
    assert answer.get_json()["fields"] == [
        "(undeclared)",
        "preparation.0.(undeclared)",
        "preparation.0.name",
        "version",
    ]
    assert not any(word in answer.text for word in ("doe", "1970", "secret", "bad name"))


@pytest.mark.parametrize("role", ["reader", "researcher", "data-steward"])
def test_only_owners_publish(federation: Federation, role: str) -> None:
    """Everybody else reads."""
    assert federation.person("Eve", role).post("/benchmarks", definition()).get_json()["code"] == "not-permitted"


def test_what_is_not_there_says_so(federation: Federation) -> None:
    """An unknown name or version is the same plain refusal."""
    federation.publish()
    for path in ("/benchmarks/none", "/benchmarks/chest_phantom/7"):
        assert federation.anybody.get(path).get_json()["code"] == "benchmark-unknown"


def test_a_superseded_version_is_never_published_again() -> None:
    """No event leads back."""
    assert all("published" not in step.values() for step in BENCHMARK.events.values())
    assert isinstance(definition(), BenchmarkDefinition)
