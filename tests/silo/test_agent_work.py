"""Real work through the real hub and the real jail, with the node killed where it hurts most."""

import json
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from silo_node.agent.scores import CaseScore, quantised
from silo_node.identity import load_identity
from silo_node.outbox.egress_log import EgressLog
from silo_node.wire.benchmarks import BenchmarkDefinition, DisclosureLimits
from silo_node.wire.canonical import message_digest
from silo_node.wire.studies import LocalTraining, StudyPlan
from tests.conftest import HubProcess
from tests.silo.clinics import Clinic, open_clinic, token_of, wait_for
from tests.silo.preparations import classification
from tests.sites import Person

pytestmark = pytest.mark.slow

CASES = 600
POLICY = """\
minimum_cohort = 20
[benchmarks]
allow = ["kill_xray"]
[release]
registrations = "auto"
results = "{results}"
updates = "auto"
"""


def question() -> BenchmarkDefinition:
    limits = DisclosureLimits(minimum_class=5, minimum_cell=5, minimum_sites=1)
    changes = {"disclosure": limits, "auto_approve_models": True, "auto_approve_cohorts": True}
    return classification(name="kill_xray", shape=(32, 32)).model_copy(update=changes)


def write_bundle(out: Path, definition: BenchmarkDefinition, seed: int) -> Path:
    """Pack a freshly initialised network, large enough that a case takes some milliseconds."""
    from pipelines.authoring import initial_weights, make_bundle, new_profile
    from pipelines.question import read_question

    args = {"in_shape": [1, 32, 32], "classes": 2, "channels": [32, 32], "strides": [1, 2]}
    profile = new_profile(read_question(definition.model_dump(mode="json")), "Classifier", args)
    make_bundle(out, profile, initial_weights(profile, seed), title="M", description="For tests.", authors="Test")
    return out


@pytest.fixture(scope="module")
def clinic(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    definition = question()
    Person(hub.url, token_of(hub, "benchmark-owner")).do("POST", "/benchmarks", definition.model_dump_json())
    return open_clinic(hub, tmp_path_factory.mktemp("clinic"), definition, POLICY.format(results="hold"), cases=CASES)


def scored(clinic: Clinic) -> list[str]:
    """Return the lines of the score file that is being written."""
    files = sorted(clinic.home.scratch.glob("evaluate-*/scores/*.jsonl"))
    return files[0].read_text().splitlines() if files else []


def test_a_killed_evaluation_goes_on_at_its_case_and_leaves_only_when_released(clinic: Clinic, tmp_path: Path) -> None:
    """``kill -9`` in the middle; what was scored is not scored again; the block waits for a person, across restarts."""
    bundles = [write_bundle(tmp_path / f"m{seed}.zip", clinic.definition, seed) for seed in (0, 1)]
    models = [clinic.submit(bundle) for bundle in bundles]
    with clinic.node() as node:
        wait_for(lambda: len(scored(clinic)) >= 30)
        node.send_signal(signal.SIGKILL)
        node.wait()
    before = scored(clinic)
    assert 30 <= len(before) < CASES * 0.25
    with clinic.node():
        wait_for(lambda: clinic.held("estimate-block"))
    kept = list(clinic.home.scores.rglob("*.jsonl"))
    assert len(kept) == len(models)
    expected = [quantised(CaseScore.model_validate_json(line)).model_dump_json() for line in before]
    assert sum(path.read_text().splitlines()[: len(before)] == expected for path in kept) == 1
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    with clinic.node():
        item = clinic.held("estimate-block")
        assert item is not None
        time.sleep(1)
        assert not any(state in clinic.evaluations() for state in ("answered", "refused"))
        shown = clinic.command("outbox", "show", item.item_id)
        assert json.loads(before[0])["case"] not in json.dumps(shown["content"])
        clinic.command("outbox", "release", item.item_id)
        wait_for(lambda: "answered" in clinic.evaluations())
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps
    assert [found.state for found in clinic.items() if found.kind == "estimate-block"] == ["acknowledged"]
    assert not list(clinic.home.scratch.glob("evaluate-*"))
    EgressLog(clinic.home.egress_log).verify()


def jailed_worker(clinic: Clinic) -> psutil.Process | None:
    """Return the process of the study's session, if one runs."""
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "bwrap" in line and str(clinic.home.scratch / "study-") in line:
            return process
    return None


def test_a_study_asks_first_and_outlives_its_killed_process(clinic: Clinic, tmp_path: Path) -> None:
    """A person says yes to the whole plan; then one process serves the rounds, and another when it is killed."""
    bundle = write_bundle(tmp_path / "m7.zip", clinic.definition, 7)
    model = clinic.submit(bundle)
    clinic.home.policy_file.write_text(POLICY.format(results="auto"))
    plan = StudyPlan.model_validate(
        {
            "name": "kill_study",
            "title": "A study",
            "benchmark": {"name": "kill_xray", "version": 1, "digest": message_digest(clinic.definition)},
            "model": model,
            "silos": (load_identity(clinic.home).silo_id,),
            "rounds": 4,
            "quorum": 1,
            "deadline_seconds": 120,
            "local": LocalTraining(batch_size=64),
        }
    )
    study = str(clinic.researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])
    with clinic.node():
        wait_for(lambda: clinic.held("association-decision"))
        item = clinic.held("association-decision")
        assert item is not None
        clinic.command("outbox", "release", item.item_id)
        wait_for(lambda: clinic.consent(study) == "approved")
        clinic.researcher.do("POST", f"/studies/{study}/start")
        wait_for(lambda: len(clinic.reports()) >= 1)
        worker = jailed_worker(clinic)
        assert worker is not None
        worker.kill()
        found = clinic.researcher.wait_for(study, "completed", "failed", seconds=180)
        assert found["state"] == "completed", clinic.log()
        second = jailed_worker(clinic)
        assert second is None or second.pid != worker.pid
    assert len(clinic.reports()) >= 4
    assert not list(clinic.home.outbox.iterdir())


def test_a_check_node_runs_a_submission_before_any_hospital(clinic: Clinic, hub: HubProcess, tmp_path: Path) -> None:
    """The clinic's node in the operator's place: judged, run twice in the jail, and a signed report decides."""
    silo_id = load_identity(clinic.home).silo_id
    hub.command("silo", "check-node", silo_id)
    clinic.home.config_file.write_text('provenance = "synthetic"\ncheck_node = true\n')
    clinic.home.policy_file.write_text(POLICY.format(results="auto"))
    model = clinic.submit(write_bundle(tmp_path / "checked.zip", clinic.definition, 9))
    state = partial(clinic.researcher.do, "GET", f"/models/{model.digest}")
    assert state()["state"] == "checking"
    with clinic.node():
        wait_for(lambda: state()["state"] != "checking")
    assert (state()["state"], state()["code"]) == ("accepted", None)
    hub.command("silo", "check-node", silo_id, "--off")
