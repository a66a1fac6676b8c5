"""A researcher's and a benchmark owner's way through the command and the SDK, with a hospital that answers."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from federation_hub.client import Hub
from silo_node.identity import load_identity
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import message_digest
from silo_node.wire.cohorts import CohortCard, CohortRegistration
from silo_node.wire.digests import keyed_fingerprint
from silo_node.wire.envelope import open_envelope, seal
from silo_node.wire.errors import MedSiloError
from silo_node.wire.estimates import ClassEstimates, MetricEstimate
from silo_node.wire.tasks import ClaimRequest, Task
from tests.client.commands import medsilo
from tests.client.conftest import People
from tests.hub.federation import block_for, reference_to
from tests.sites import TOY, Person, Site, write_bundle

QUESTION = TOY.model_dump(mode="json") | {
    "name": "own_way",
    "disclosure": TOY.disclosure.model_dump() | {"minimum_sites": 1},
    "submissions": {"a_day": 4},
}


@pytest.fixture(scope="module")
def benchmark(people: People) -> BenchmarkDefinition:
    """A benchmark of this module's own."""
    definition = BenchmarkDefinition.model_validate_json(json.dumps(QUESTION))
    Hub(people.url, people.owner_token).publish_benchmark(definition)
    return definition


@pytest.fixture(scope="module")
def hospital(people: People, benchmark: BenchmarkDefinition, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A hospital with a cohort of that benchmark."""
    site = Site.join(tmp_path_factory.mktemp("way"), people.url, Person(people.url, people.process.admin_token), "Way")
    card = CohortCard(task="classification", modality="DX", provenance="synthetic", patients="100-249",
                      classes=("50-99", "50-99"), makers=())  # fmt: skip
    registration = CohortRegistration(
        silo_id=site.silo_id,
        benchmark=reference_to(benchmark),
        fingerprint=keyed_fingerprint(b"k" * 32, b"own way"),
        training_cases=70,
        validation_cases=20,
        test_cases=50,
        card=card,
    )
    hub = site.dial()
    hub.register_cohort(seal(registration, load_identity(site.home).key))
    hub.close()
    return site


def answer(site: Site, benchmark: BenchmarkDefinition, value: float = 0.8) -> None:
    """Answer the hospital's next evaluation of the benchmark with an AUROC."""
    hub, identity = site.dial(), load_identity(site.home)
    while True:
        offered = hub.claim(ClaimRequest(kinds=("evaluation",))).task
        assert offered is not None
        task = open_envelope(offered, Task, identity.enrolment.hub_public_key)
        if task.body.benchmark.name == benchmark.name:  # type: ignore[union-attr]
            break
    size = len(task.body.models)  # type: ignore[union-attr]
    cov = tuple(tuple(0.002 if a == b else 0.001 for a in range(size)) for b in range(size))
    metric = MetricEstimate(metric="auroc", status="estimated", theta=(value,) * size, cov=cov)
    classes = (ClassEstimates(label="finding", positives=25, negatives=25, metrics=(metric,)),)
    block = block_for(task, classes=classes, limits=benchmark.disclosure)
    assert hub.result(task.task_id, seal(block, identity.key)).state == "accepted"
    hub.close()


def bundle(folder: Path, value: float, name: str) -> Path:
    """Write a bundle and its card and return the archive."""
    path = write_bundle(folder, {"fc.weight": np.full((2, 64), value, np.float32)})
    (folder / "model.card.toml").write_text(f'name = "{name}"\nlicence = "MIT"\n')
    return path


def test_a_private_model_is_followed_through_the_hospital_and_made_public(
    people: People, token_file: Path, hospital: Site, benchmark: BenchmarkDefinition, tmp_path: Path
) -> None:
    """``status --watch`` tells each change and ends once nothing more comes; the score is its owner's alone."""
    bundle(tmp_path, 21, "Quiet")
    done = medsilo(tmp_path, "model", "submit", "model.zip", "--benchmark", "own_way", "--private", "--json",
                   hub=people.url, token_file=token_file)  # fmt: skip
    assert done.returncode == 0, done.stderr
    digest = json.loads(done.stdout)["digest"]
    environment = os.environ | {"MEDSILO_HUB": people.url, "MEDSILO_TOKEN_FILE": str(token_file)}
    command = [sys.executable, "-m", "federation_hub.client.cli", "model", "status", digest, "--watch", "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stderr is not None
        assert "waiting for the hospital" in watching.stderr.readline()
        answer(hospital, benchmark)
        out, told = watching.communicate(timeout=300)
    assert "released" in told
    (entry,) = json.loads(out)["entries"]
    assert [site["state"] for site in entry["sites"]] == ["released"]
    assert (entry["visibility"], entry["attempt"]) == ("private", 1)
    assert entry["result"]["estimate"] == pytest.approx(0.8)
    assert digest not in [row["digest"] for row in people.researcher.leaderboard_frame("own_way").to_dict("records")]
    shown = medsilo(tmp_path, "model", "reveal", digest, "--benchmark", "own_way", hub=people.url,
                    token_file=token_file)  # fmt: skip
    assert "public" in shown.stdout
    frame = Hub(people.url).leaderboard_frame("own_way")
    assert list(frame["digest"]) == [digest]
    assert frame["estimate"][0] == pytest.approx(0.8)


def test_three_lines_of_the_sdk(
    people: People,
    token_file: Path,
    hospital: Site,
    benchmark: BenchmarkDefinition,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Signed in as the command is, submitted with the card beside it, followed; a new version keeps the line."""
    monkeypatch.setenv("MEDSILO_HUB", people.url)
    monkeypatch.setenv("MEDSILO_TOKEN_FILE", str(token_file))
    hub = Hub.signed_in()
    record = hub.submit(bundle(tmp_path, 22, "Loud"), "own_way")
    assert [site["state"] for site in next(hub.follow(record["digest"]))[0]["sites"]] == ["waiting"]
    later = datetime.now(UTC) + timedelta(days=30)
    again = hub.submit(bundle(tmp_path, 23, "Loud"), "own_way", version_of=record["digest"], embargo_until=later)
    assert (again["version"], again["benchmarks"][0]["visibility"]) == (2, "embargoed")
    answer(hospital, benchmark, 0.7)
    assert all(entry["settled"] for entry in hub.entries(again["digest"]))
    with pytest.raises(MedSiloError, match="model-not-newest"):
        hub.submit(bundle(tmp_path, 24, "Loud"), "own_way", version_of=record["digest"])


def test_an_owner_looks_after_a_benchmark(
    people: People, token_file: Path, hospital: Site, benchmark: BenchmarkDefinition, tmp_path: Path
) -> None:
    """Matrix, priority, asking again for a reason; a dispute of the researcher's is settled."""
    owner = tmp_path / "owner"
    owner.write_text(people.owner_token)

    def run(*arguments: str, token: Path = owner) -> subprocess.CompletedProcess[str]:
        return medsilo(tmp_path, *arguments, hub=people.url, token_file=token)

    digest = people.researcher.submit(bundle(tmp_path, 25, "Looked after"), "own_way")["digest"]
    answer(hospital, benchmark)
    assert "released" in run("benchmark", "matrix", "own_way").stdout
    assert "Priority 3" in run("benchmark", "set", "own_way", digest, "--priority", "3").stdout
    retried = run("benchmark", "retry", "own_way", "--silo", hospital.silo_id, "--reason", "software-fault")
    assert "Asked 1 hospital" in retried.stdout, retried.stderr
    answer(hospital, benchmark, 0.9)
    hub = Hub(people.url, people.owner_token)
    newest = next(row for row in hub.evaluations("own_way") if row["result"] and row["result"]["state"] == "accepted")
    assert newest["reason"] == "software-fault"
    disputed = run("evaluation", "dispute", newest["evaluation_id"], "--reason", "implausible", token=token_file)
    assert "disputed (implausible)" in disputed.stdout, disputed.stderr
    assert run("evaluation", "settle", newest["evaluation_id"], "--uphold").returncode == 1
    assert (
        "accepted"
        in run("evaluation", "settle", newest["evaluation_id"], "--uphold", "--because", "Read again.").stdout
    )
    assert "released" in set(hub.matrix_frame("own_way").loc["Looked after"])


def test_a_benchmark_is_begun_checked_and_published(people: People, tmp_path: Path) -> None:
    """With a fault the check lists it and the hub is not asked."""
    owner = tmp_path / "owner"
    owner.write_text(people.owner_token)
    made = medsilo(tmp_path, "benchmark", "new", "lung_way", "--from", "chest_phantom")
    assert made.returncode == 0, made.stderr
    file = tmp_path / "lung_way" / "benchmark.toml"
    good = file.read_text()
    file.write_text(good.replace('"auprc"', '"f1"').replace("floor = 0.7", "floor = 7"))
    checked = medsilo(tmp_path, "benchmark", "check", "lung_way", "--json")
    assert checked.returncode == 1
    assert [fault["key"] for fault in json.loads(checked.stdout)["faults"]] == ["metrics[0].floor", "metrics[1].name"]
    refused = medsilo(tmp_path, "benchmark", "publish", "lung_way", "--json", hub=people.url, token_file=owner)
    assert refused.returncode == 1
    file.write_text(good)
    published = medsilo(tmp_path, "benchmark", "publish", "lung_way", "--json", hub=people.url, token_file=owner)
    assert published.returncode == 0, published.stderr
    definition = Hub(people.url).definition("lung_way")
    assert json.loads(published.stdout)["digest"] == message_digest(definition)
