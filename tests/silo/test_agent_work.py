"""Real work through the real hub and the real jail, with the node killed where it hurts most."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from silo_node.agent.scores import CaseScore, quantised
from silo_node.cohorts.build import build_cohort
from silo_node.cohorts.registry import prepare_registration
from silo_node.config import NodeConfig, load_config
from silo_node.hub import Hub
from silo_node.identity import dial, enrol, gate, load_identity
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.outbox.egress_log import EgressLog
from silo_node.registration import register_cohort
from silo_node.state import Home
from silo_node.transfers import upload
from silo_node.transport import Transport
from silo_node.wire.benchmarks import BenchmarkDefinition, DisclosureLimits
from silo_node.wire.canonical import message_digest
from silo_node.wire.models import ModelCard, ModelReference, ModelSubmission
from silo_node.wire.studies import LocalTraining, StudyPlan
from tests.conftest import HubProcess
from tests.silo.preparations import classification, fit
from tests.silo.sources import npz_site
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


@dataclass(frozen=True)
class Clinic:
    """One enrolled site with a registered cohort, and the people around it."""

    home: Home
    url: str
    definition: BenchmarkDefinition
    researcher: Person
    token: str
    """The researcher's."""

    def submit(self, bundle: Path) -> ModelReference:
        """Upload a bundle over the node's own transfer code, and submit it as a researcher does."""
        transport = Transport(self.url, NodeConfig(), self.token)
        blob = upload(transport, gate(Home(bundle.parent)), bundle, "model")
        transport.close()
        submission = ModelSubmission(
            bundle=blob, card=ModelCard(name=bundle.stem), benchmark=self.definition.name, benchmark_version=1
        )
        self.researcher.do("POST", "/models", submission.model_dump_json())
        return ModelReference(digest=blob.digest, size=blob.size)

    def command(self, *arguments: str) -> dict[str, object]:
        """Run ``silo-node`` here and return the JSON it printed."""
        called = [sys.executable, "-m", "silo_node.cli", "--home", str(self.home.path), *arguments, "--json"]
        done = subprocess.run(called, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    @contextmanager
    def node(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the node inside the block; it is killed at the end if it still runs."""
        called = [sys.executable, "-m", "silo_node.cli", "--home", str(self.home.path), "start"]
        with (self.home.logs / "node.log").open("ab") as log:
            process = subprocess.Popen(called, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def items(self) -> list[Item]:
        journal = Journal(self.home)
        try:
            return Outbox(journal).items()
        finally:
            journal.close()

    def held(self, kind: str) -> Item | None:
        return next((item for item in self.items() if item.kind == kind and item.state == "held"), None)

    def evaluations(self) -> set[str]:
        """Return the states of this benchmark's evaluations at the hub."""
        found = self.researcher.do("GET", f"/evaluations?benchmark={self.definition.name}")["evaluations"]
        assert isinstance(found, list)
        return {str(entry["state"]) for entry in found if isinstance(entry, dict)}

    def reports(self) -> list[Item]:
        """Return the rounds' reports the hub has acknowledged."""
        return [item for item in self.items() if item.kind == "round-report" and item.state == "acknowledged"]

    def consent(self, study: str) -> object:
        """Return what the hub knows of this site's answer to a study."""
        silos = self.researcher.study(study)["silos"]
        assert isinstance(silos, list)
        assert isinstance(silos[0], dict)
        return silos[0]["consent"]

    def log(self) -> str:
        return (self.home.logs / "node.log").read_text()


def wait_for(condition: Callable[[], object], seconds: float = 180.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


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


def token_of(hub: HubProcess, role: str) -> str:
    """Add a person with a role and return the token."""
    name = f"{role} {secrets.token_hex(4)}"  # the hub is shared with every other test of the session
    arguments = ("person", "add", name, "--role", role, "--organisation", "Clinic University")
    return str(json.loads(hub.command(*arguments, "--json"))["token"])


@pytest.fixture(scope="module")
def clinic(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    folder, definition = tmp_path_factory.mktemp("clinic"), question()
    Person(hub.url, token_of(hub, "benchmark-owner")).do("POST", "/benchmarks", definition.model_dump_json())
    home = Home(folder / "node").create()
    home.config_file.write_text('provenance = "synthetic"\n')
    home.policy_file.write_text(POLICY.format(results="hold"))
    admin = Person(hub.url, hub.admin_token)
    code = admin.do("POST", "/silos", json.dumps({"name": "Clinic", "organisation": "Clinic hospital"}))["code"]
    stranger = Hub(hub.url, gate(home), NodeConfig())
    enrolment = enrol(home, stranger, str(code))
    stranger.close()
    admin.do("POST", f"/silos/{enrolment.silo_id}/approve", json.dumps({"fingerprint": enrolment.fingerprint}))
    table = npz_site(folder / "source", CASES, shape=(32, 32))
    take_in(home, TableSource(table, folder / "source", collection="default", modality="DX"), IntakeRules("default"))
    cohort = build_cohort(home, definition, fit, minimum_cases=20).cohort
    connection, journal = dial(home, load_config(home), load_identity(home)), Journal(home)
    registration = prepare_registration(home, cohort.cohort_id, silo_id=enrolment.silo_id, provenance="synthetic")
    _, record = register_cohort(home, load_identity(home), connection, journal, registration)
    connection.close()
    journal.close()
    assert record is not None
    assert record.association == "approved"
    token = token_of(hub, "researcher")
    return Clinic(home, hub.url, definition, Person(hub.url, token), token)


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


def test_a_question_about_the_cohort_goes_through_the_door_and_back(clinic: Clinic) -> None:
    """Counts as the limits allow, a band that looks like none where there is nobody, and a line in the ledger."""
    clinic.home.policy_file.write_text(POLICY.format(results="auto"))
    questions = (
        {"attribute": "sex", "where": [], "epsilon": None},
        {"attribute": None, "where": [{"attribute": "sex", "levels": ["f"]}], "epsilon": None},
    )
    asked = [
        clinic.researcher.do("POST", "/statistics", json.dumps({"benchmark": "kill_xray", "question": question}))
        for question in questions
    ]
    with clinic.node():
        states = [partial(clinic.researcher.do, "GET", f"/statistics/{one['query_id']}") for one in asked]
        wait_for(lambda: all(state()["answered"] == 1 for state in states), seconds=600)
    table, band = (state() for state in states)
    assert table["cells"] == [{"level": "none-told", "patients": CASES, "silos": 1}]
    assert band["bands"] == {"fewer-than-20": 1}
    ledger = clinic.command("privacy", "ledger")
    told = [entry["subject"] for entry in entries_of(ledger) if entry["kind"] == "statistics"]
    assert told == [asked[0]["query_id"]]


def private_plan(clinic: Clinic, model: ModelReference, name: str) -> StudyPlan:
    """Return a plan of two rounds whose promise to each patient is an epsilon of 3."""
    return StudyPlan.model_validate(
        {
            "name": name,
            "title": "A private study",
            "benchmark": {"name": "kill_xray", "version": 1, "digest": message_digest(clinic.definition)},
            "model": model,
            "silos": (load_identity(clinic.home).silo_id,),
            "rounds": 2,
            "quorum": 1,
            "deadline_seconds": 600,
            "local": LocalTraining(batch_size=64, max_steps=3),
            "privacy": {"unit": "patient", "epsilon": 3.0, "images_per_patient": 2},
        }
    )


def test_a_private_study_is_trained_with_noise_and_booked_until_the_budget(clinic: Clinic, tmp_path: Path) -> None:
    """Through the hub and the jail: two rounds are in the ledger, and a second study like it is refused by a code."""
    clinic.home.policy_file.write_text(
        POLICY.format(results="auto") + '[studies]\nothers = "auto"\n[budget]\nepsilon = 3.2\n'
    )
    model = clinic.submit(write_bundle(tmp_path / "m11.zip", clinic.definition, 11))
    before = clinic.command("privacy", "ledger")
    study = str(
        clinic.researcher.do("POST", "/studies", private_plan(clinic, model, "quiet_one").model_dump_json())["study_id"]
    )
    with clinic.node():
        wait_for(lambda: clinic.consent(study) == "approved", seconds=600)
        clinic.researcher.do("POST", f"/studies/{study}/start")
        found = clinic.researcher.wait_for(study, "completed", "failed", seconds=600)
        assert found["state"] == "completed", clinic.log()
        again = private_plan(clinic, model, "quiet_two").model_dump_json()
        second = str(clinic.researcher.do("POST", "/studies", again)["study_id"])
        wait_for(lambda: clinic.consent(second) == "declined", seconds=600)
    after = clinic.command("privacy", "ledger")
    booked = [entry for entry in entries_of(after)[len(entries_of(before)) :] if entry["subject"] == study]
    assert [entry["kind"] for entry in booked] == ["round", "round", "closed"]
    noise = booked[0]["mechanism"]
    assert noise == booked[1]["mechanism"]
    assert (noise["kind"], noise["steps"]) == ("gaussian", 3)
    accounts = after["accounts"]
    assert isinstance(accounts, list)
    (trained,) = (account for account in accounts if account["part"] == "train")
    assert 1.0 < trained["epsilon"] < 3.0
    assert "privacy-budget" in clinic.log() or "refuse" in clinic.log()


def entries_of(ledger: dict[str, object]) -> list[dict[str, Any]]:
    found = ledger["entries"]
    assert isinstance(found, list)
    return found


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
