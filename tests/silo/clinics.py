"""A clinic for tests: one enrolled node with a registered cohort at a real hub, and the people around it."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from silo_node.cohorts.build import build_cohort
from silo_node.cohorts.registry import prepare_registration
from silo_node.config import NodeConfig, load_config
from silo_node.hub import Hub
from silo_node.identity import dial, enrol, gate, load_identity
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.registration import register_cohort
from silo_node.state import Home
from silo_node.transfers import upload
from silo_node.transport import Transport
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.models import ModelCard, ModelReference, ModelSubmission
from tests.conftest import HubProcess
from tests.silo.preparations import fit
from tests.silo.sources import npz_site
from tests.sites import Person


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


def token_of(hub: HubProcess, role: str) -> str:
    """Add a person with a role and return the token."""
    name = f"{role} {secrets.token_hex(4)}"  # the hub is shared with every other test of the session
    arguments = ("person", "add", name, "--role", role, "--organisation", "Clinic University")
    return str(json.loads(hub.command(*arguments, "--json"))["token"])


def open_clinic(
    hub: HubProcess, folder: Path, definition: BenchmarkDefinition, policy: str, *, cases: int, name: str = "Clinic"
) -> Clinic:
    """Enrol a node at a hub that has the benchmark, and register a cohort of so many cases."""
    home = Home(folder / "node").create()
    home.config_file.write_text('provenance = "synthetic"\n')
    home.policy_file.write_text(policy)
    admin = Person(hub.url, hub.admin_token)
    code = admin.do("POST", "/silos", json.dumps({"name": name, "organisation": f"{name} hospital"}))["code"]
    stranger = Hub(hub.url, gate(home), NodeConfig())
    enrolment = enrol(home, stranger, str(code))
    stranger.close()
    admin.do("POST", f"/silos/{enrolment.silo_id}/approve", json.dumps({"fingerprint": enrolment.fingerprint}))
    table = npz_site(folder / "source", cases, shape=definition.input.shape)
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
