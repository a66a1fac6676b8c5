"""A researcher's entries: who is told of them, where they are, how many there may be."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from federation_hub.entries.rules import limit_refusal, no_gain, phase_at
from federation_hub.entries.tables import Entry
from federation_hub.leaderboards.inputs import read_inputs
from federation_hub.leaderboards.snapshots import snapshot_bytes
from federation_hub.sweeper import sweep
from silo_node.wire.digests import digest_bytes
from silo_node.wire.estimates import ClassEstimates, MetricEstimate
from silo_node.wire.phases import PhaseSpec, SubmissionLimits
from silo_node.wire.tasks import Task
from tests.hub.federation import Caller, Federation, SiloCaller, bundle_bytes, definition

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LAW = {"disclosure": {"minimum_class": 20, "minimum_cell": 10, "minimum_sites": 1, "decimals": 4}}


def phase(name: str = "main", opens: int = -1, closes: int | None = 1, **more: Any) -> dict[str, Any]:
    """Return a phase by days from now."""
    at = datetime.now(UTC)
    dates = {"opens": (at + timedelta(days=opens)).isoformat()}
    if closes is not None:
        dates["closes"] = (at + timedelta(days=closes)).isoformat()
    return {"name": name, "title": name.title(), **dates, **more}


def reporting(silo: SiloCaller, **values: float) -> None:
    """Answer the silo's evaluation with this AUROC for each model, by digest."""
    task = silo.claim()
    assert task is not None
    classes = (estimates(task, values),)
    answer = silo.answer(task, classes=classes, limits=definition(**LAW).disclosure)
    assert answer.get_json() == {"state": "accepted", "code": None}, answer.text


def estimates(task: Task, values: dict[str, float]) -> ClassEstimates:
    """Return the estimates of one class."""
    digests = [model.digest for model in task.body.models]  # type: ignore[union-attr]
    cov = tuple(tuple(0.002 if a == b else 0.001 for a in digests) for b in digests)
    metric = MetricEstimate(
        metric="auroc", status="estimated", theta=tuple(values.get(digest, 0.7) for digest in digests), cov=cov
    )
    return ClassEstimates(label="opacity", positives=25, negatives=25, metrics=(metric,))


def board(federation: Federation) -> dict[str, Any]:
    """Return the names on the board with their status."""
    answer = federation.anybody.get("/benchmarks/chest_phantom/leaderboard")
    return {row["name"]: row["status"] for row in answer.get_json()["rows"]}


def digest_of(caller: Caller, seed: int, name: str = "A model", **wishes: Any) -> str:
    """Submit a model and return its digest."""
    answer = caller.submit(bundle_bytes(seed), name, **wishes)
    assert answer.status_code == 201, answer.text
    return str(answer.get_json()["digest"])


def own(caller: Caller, digest: str) -> dict[str, Any]:
    """Return a model's only entry as its owner sees it."""
    (entry,) = caller.get(f"/models/{digest}/entries").get_json()["entries"]
    return dict(entry)


def test_a_private_entry_is_evaluated_and_told_to_its_owner_only(federation: Federation) -> None:
    """No board, no list, no page and no evaluation's page names it; its owner sees the released score."""
    silo = federation.silo()
    silo.register_cohort(federation.publish(**LAW))
    ada, eve = federation.researcher(), federation.researcher("Eve")
    shown, private = digest_of(ada, 1, "Shown"), digest_of(ada, 2, "Hidden", visibility="private")
    reporting(silo, **{shown: 0.8, private: 0.9})
    assert set(board(federation)) == {"Shown"}
    assert [model["card"]["name"] for model in eve.get("/models").get_json()["models"]] == ["Shown"]
    assert eve.get(f"/models/{private}").get_json()["code"] == "model-unknown"
    assert eve.get(f"/models/{private}/entries").get_json()["code"] == "model-unknown"
    (evaluation,) = [row for row in ada.get("/evaluations").get_json()["evaluations"] if row["state"] == "answered"]
    for path in (f"/models/{private}", f"/evaluations/{evaluation['evaluation_id']}", "/"):
        assert "Hidden" not in federation.anybody.http.get(path).text
    entry = own(ada, private)
    assert (entry["attempt"], entry["visibility"], entry["settled"]) == (2, "private", True)
    assert entry["result"]["status"] == "released"
    assert entry["result"]["estimate"] == pytest.approx(0.9)
    assert own(ada, shown)["result"]["estimate"] == pytest.approx(0.8)


def test_what_a_board_was_computed_from_tells_nothing_of_private_models(federation: Federation) -> None:
    """Neither a digest nor an estimate, and the board is computed from it again all the same."""
    benchmark = federation.publish(**LAW)
    silos = [federation.silo(name) for name in ("One", "Two")]
    for silo in silos:
        silo.register_cohort(benchmark)
    ada = federation.researcher()
    shown, private = digest_of(ada, 1, "Shown"), digest_of(ada, 2, "Hidden", visibility="private")
    for silo in silos:
        reporting(silo, **{shown: 0.8, private: 0.9137})
    answer = federation.anybody.get("/benchmarks/chest_phantom/leaderboard")
    digest = digest_bytes(answer.data)
    told = federation.anybody.get(f"/snapshots/{digest}/inputs")
    assert told.status_code == 200, told.text
    assert shown in told.text
    assert private not in told.text
    assert "0.9137" not in told.text
    assert snapshot_bytes(read_inputs(told.data)) == answer.data


def test_a_private_entry_becomes_public_and_never_private_again(federation: Federation) -> None:
    """Its owner decides; the board follows at once."""
    silo = federation.silo()
    silo.register_cohort(federation.publish(**LAW))
    ada = federation.researcher()
    digest = digest_of(ada, 1, "Mine", visibility="private")
    reporting(silo)
    path = f"/benchmarks/chest_phantom/1/entries/{digest}/showing"
    assert federation.researcher("Eve").post(path).get_json()["code"] == "model-unknown"
    assert ada.post(path).get_json()["visibility"] == "public"
    assert set(board(federation)) == {"Mine"}
    assert ada.post(path).get_json()["code"] == "entry-public"


def test_an_embargo_ends_by_itself(federation: Federation) -> None:
    """The sweep lifts it on its day, and the board lists the model."""
    silo = federation.silo()
    silo.register_cohort(federation.publish(**LAW))
    ada = federation.researcher()
    until = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    digest_of(ada, 1, "Later", embargo_until=until)
    reporting(silo)
    sweep(federation.services)
    assert board(federation) == {}
    with federation.services.database.session() as session:
        session.query(Entry).one().embargo_until = datetime.now(UTC) - timedelta(seconds=1)
    sweep(federation.services)
    assert set(board(federation)) == {"Later"}


@pytest.mark.parametrize(
    ("wishes", "code"),
    [
        ({"embargo_until": "2020-01-01T00:00:00Z"}, "embargo-past"),
        ({"visibility": "private", "embargo_until": "2090-01-01T00:00:00Z"}, "malformed-message"),
        ({"visibility": "secret"}, "malformed-message"),
        ({"phase": "none"}, "phase-unknown"),
        ({"version_of": "blake3:" + "0" * 64}, "model-unknown"),
    ],
)
def test_a_wish_that_cannot_be_granted_changes_nothing(
    federation: Federation, wishes: dict[str, Any], code: str
) -> None:
    """No model, no entry, no attempt is left behind."""
    federation.publish()
    ada = federation.researcher()
    assert ada.submit(bundle_bytes(), **wishes).get_json()["code"] == code
    assert ada.get("/models").get_json()["models"] == []
    with federation.services.database.reading() as session:
        assert session.query(Entry).count() == 0


def test_a_bad_bundle_is_no_attempt(federation: Federation) -> None:
    """The count is of sound models."""
    federation.publish()
    ada = federation.researcher()
    assert ada.submit(b"no archive" * 100).status_code == 422
    assert own(ada, digest_of(ada, 1))["attempt"] == 1


def test_a_new_version_keeps_name_and_line(federation: Federation) -> None:
    """It is told apart on the board; only the owner goes on, from the newest version, under the same name."""
    silo = federation.silo()
    silo.register_cohort(federation.publish(**LAW))
    ada = federation.researcher()
    first = digest_of(ada, 1, "Net")
    second = ada.submit(bundle_bytes(2), "Net", version_of=first).get_json()
    assert (second["version"], second["version_of"]) == (2, first)
    refused = {
        "model-not-newest": (ada, "Net", first),
        "model-name-differs": (ada, "Other", second["digest"]),
        "model-unknown": (federation.researcher("Eve"), "Net", second["digest"]),
    }
    for code, (caller, name, earlier) in refused.items():
        assert caller.submit(bundle_bytes(3), name, version_of=earlier).get_json()["code"] == code
    reporting(silo)
    assert set(board(federation)) == {"Net", "Net, version 2"}
    page = federation.anybody.http.get("/benchmarks/chest_phantom").text
    assert "attempt 2" in page


def test_phases_take_models_between_their_dates(federation: Federation) -> None:
    """A phase that is over, or not yet open, takes none; a parent phase must be passed first."""
    phases = [phase("past", -9, -2), phase("warm_up", -2, 5), phase("final", -1, 5, parent="warm_up")]
    silo = federation.silo()
    silo.register_cohort(federation.publish(**LAW, metrics=[{"name": "auroc", "primary": True, "floor": 0.75}],
                                            phases=[*phases, phase("later", 3, 4)]))  # fmt: skip
    ada = federation.researcher()
    for name, code in (("past", "phase-closed"), ("later", "phase-closed"), ("final", "parent-phase-missing")):
        assert ada.submit(bundle_bytes(9), phase=name).get_json()["code"] == code
    first = digest_of(ada, 1, phase="warm_up")
    reporting(silo, **{first: 0.6})
    assert ada.submit(bundle_bytes(9), phase="final").get_json()["code"] == "parent-phase-missing"
    second = digest_of(ada, 2, phase="warm_up")
    reporting(silo, **{first: 0.6, second: 0.8})
    assert own(ada, digest_of(ada, 3))["phase"] == "final"


def test_limits_count_an_organisations_entries(federation: Federation) -> None:
    """Over all phases and in each; the same model again is none, another organisation has its own."""
    federation.publish(submissions={"a_day": 2}, phases=[phase("one", -2), phase("two", submissions={"in_all": 1})])
    ada = federation.researcher()
    digest_of(ada, 1)
    assert ada.submit(bundle_bytes(2)).get_json()["code"] == "submission-limit-phase"
    digest_of(ada, 2, phase="one")
    refused = ada.submit(bundle_bytes(3), phase="one")
    assert (refused.status_code, refused.get_json()["code"]) == (429, "submission-limit-day")
    assert ada.submit(bundle_bytes(2), phase="one").status_code == 201
    digest_of(federation.researcher("Eve"), 3)


def test_the_ladder_tells_only_of_real_gains(federation: Federation) -> None:
    """A model that is not better by the step is on no board, and its owner is told which one is."""
    silo = federation.silo()
    silo.register_cohort(federation.publish(**LAW, phases=[phase(ladder=0.05)]))
    ada = federation.researcher()
    names = {"First": 0.70, "Nudged": 0.74, "Better": 0.80}
    digests = {name: digest_of(ada, seed, name) for seed, name in enumerate(names)}
    values = {digests[name]: value for name, value in names.items()}
    reporting(silo, **values)
    assert set(board(federation)) == {"First", "Better"}
    nudged = own(ada, digests["Nudged"])["result"]
    assert (nudged["status"], nudged["code"], nudged["best"]) == ("silent", "ladder-no-gain", digests["First"])
    assert nudged["estimate"] is None
    assert own(ada, digests["Better"])["result"]["estimate"] == pytest.approx(0.80)


def test_the_ladder_stays_silent_until_the_best_is_beaten_by_more_than_the_step() -> None:
    """Blum and Hardt 2015, algorithm 1; lower may be better, an unreported model decides nothing."""
    attempts = [("a", 0.70), ("b", None), ("c", 0.75), ("d", 0.76), ("e", 0.81), ("f", 0.90)]
    assert no_gain(attempts, 0.05, "higher") == {"c": "a", "e": "d"}
    assert no_gain([("a", 0.3), ("b", 0.2), ("c", 0.19)], 0.05, "lower") == {"c": "b"}
    assert no_gain([("a", 0.70), ("b", 0.72), ("c", 0.76)], 0.05, "higher") == {"b": "a"}
    assert no_gain([], 0.05, "higher") == {}


@pytest.mark.parametrize(
    ("limits", "earlier", "code"),
    [
        ({"a_day": 1}, [timedelta(hours=1)], "submission-limit-day"),
        ({"a_day": 1}, [timedelta(hours=13)], None),
        ({"a_month": 1}, [timedelta(days=9)], "submission-limit-month"),
        ({"a_month": 1}, [timedelta(days=10)], None),
        ({"in_all": 2}, [timedelta(days=300)], None),
        ({"in_all": 1, "a_day": 1}, [timedelta(hours=1)], "submission-limit-phase"),
    ],
)
def test_days_and_months_are_utcs(limits: dict[str, int], earlier: list[timedelta], code: str | None) -> None:
    """Counted from midnight and from the first of the month."""
    found = limit_refusal(SubmissionLimits(**limits), [NOON - ago for ago in earlier], NOON)
    assert found == code


def test_a_phase_is_open_from_its_first_moment_until_before_its_last() -> None:
    """Of several, the one that opened last is entered."""
    one = PhaseSpec(name="one", title="One", opens=NOON, closes=NOON + timedelta(days=2))
    two = PhaseSpec(name="two", title="Two", opens=NOON + timedelta(days=1))
    assert phase_at([one, two], None, NOON) == one
    assert phase_at([one, two], None, NOON + timedelta(days=1)) == two
    assert phase_at([one, two], "one", NOON + timedelta(days=1)) == one
    assert phase_at([one, two], "one", NOON + timedelta(days=2)) is None
    assert phase_at([one, two], None, NOON - timedelta(seconds=1)) is None


def test_a_whole_board_is_computed_again_without_the_models_it_does_not_list(filled: Federation) -> None:
    """Histograms, subgroups and every other vector over models are cut alike."""
    with filled.services.database.session() as session:
        private = session.query(Entry).order_by(Entry.created).limit(2).all()[1]
        private.visibility = "private"
    filled.refresh()
    answer = filled.anybody.get("/benchmarks/chest_phantom/leaderboard")
    told = filled.anybody.get(f"/snapshots/{digest_bytes(answer.data)}/inputs")
    assert told.status_code == 200, told.text
    assert private.model_digest not in told.text
    assert snapshot_bytes(read_inputs(told.data)) == answer.data
