"""What each person of the demonstration does, with the commands and the SDK they would use themselves."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from federation_hub.client.demo.places import Places, write_silo_settings
from federation_hub.client.demo.processes import Processes
from federation_hub.client.hub import Hub, Record
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import IntegrityError, MedSiloError, WorkFailed

HUB_COMMAND = "federation_hub.cli"
SILO_COMMAND = "silo_node.cli"
MATERIALS = "federation_hub.client.demo.materials"

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")

_LOOK_SECONDS = 0.2
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Silo:
    """One hospital of the demonstration."""

    number: int
    silo_id: str
    name: str
    home: Path

    @property
    def log_name(self) -> str:
        return f"silo-{self.number}"


@dataclass
class Federation:
    """A hub and its silos while the demonstration runs."""

    processes: Processes
    places: Places
    url: str = ""

    def start_hub(self, port: int) -> str:
        """Start the hub in its place, by the settings there, and return its address once it listens."""
        ready = self.places.ready_file
        arguments = ["--home", str(self.places.hub), "up", "--host", "127.0.0.1", "--port", str(port)]
        self.processes.start("hub", HUB_COMMAND, [*arguments, "--ready-file", str(ready)])
        self.wait(ready.exists, seconds=_START_SECONDS, what="the hub to listen")
        self.url = str(json.loads(ready.read_text())["url"])
        return self.url

    def admin(self) -> Hub:
        """Return the hub as its admin uses it, with the token the hub wrote at its first start."""
        return Hub(self.url, (self.places.hub / "admin-token").read_text().strip())

    def add_person(self, name: str, *, role: str, organisation: str) -> Hub:
        """Let the operator add a person, and return the hub as that person uses it."""
        arguments = ["person", "add", name, "--role", role, "--organisation", organisation, "--json"]
        added = self.processes.run("operator", HUB_COMMAND, ["--home", str(self.places.hub), *arguments])
        return Hub(self.url, added["token"])

    def enrol_silo(self, number: int, name: str, definition: BenchmarkDefinition, study: str) -> Silo:
        """Let the admin invite a hospital, the hospital enrol, and the admin compare and approve its fingerprint."""
        admin, home = self.admin(), self.places.silo(number)
        write_silo_settings(home, definition=definition, study=study)
        invitation = admin.invite_silo(name, name)
        silo = Silo(number, invitation["silo_id"], name, home)
        receipt = self.silo_command(silo, "enrol", "--hub", self.url, "--code", invitation["code"])
        compare_and_approve(admin, silo.silo_id, receipt["fingerprint"])
        return silo

    def silo_command(self, silo: Silo, *arguments: str) -> Any:
        """Run one ``silo-node`` command at a silo and return the JSON it printed."""
        return self.processes.run(silo.log_name, SILO_COMMAND, ["--home", str(silo.home), *arguments, "--json"])

    def start_agent(self, silo: Silo) -> None:
        """Start a silo's node."""
        self.processes.start(f"{silo.log_name}-agent", SILO_COMMAND, ["--home", str(silo.home), "start"])

    def materials(self, what: str, dataset: str, data: Path | None) -> Any:
        """Make the sites' folders or the researcher's models, and return what was made."""
        arguments = [what, "--dataset", dataset, "--out", str(self.places.materials / what)]
        return self.processes.run(
            f"materials-{what}", MATERIALS, arguments + (["--data", str(data)] if data is not None else [])
        )

    def in_parallel(self, call: Callable[[A, B], R], first: Sequence[A], second: Sequence[B]) -> list[R]:
        """Run a call for each pair side by side and return the results in order.

        The first failure is raised, and an interruption: every process is stopped then, so that no call goes on.
        """
        with ThreadPoolExecutor(max_workers=len(first)) as pool:
            try:
                return list(pool.map(call, first, second))
            except BaseException:
                self.processes.stop_all()
                raise

    def wait(self, done: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait until something holds; raise ``WorkFailed`` where it takes too long or a process ended meanwhile."""
        deadline = time.monotonic() + seconds
        while not done():
            self.processes.check_alive()
            if time.monotonic() > deadline:
                raise WorkFailed("work-failed", f"waited {seconds:.0f} s for {what}")
            time.sleep(_LOOK_SECONDS)


def compare_and_approve(admin: Hub, silo_id: str, fingerprint: str) -> None:
    """Compare the fingerprint the hospital read out with the one at the hub, and approve the silo.

    Raises ``IntegrityError`` where they differ: somebody else's key came with the code.
    """
    if admin.silo(silo_id)["fingerprint"] != fingerprint:
        raise IntegrityError("fingerprint-mismatch", silo_id)
    admin.approve_silo(silo_id, fingerprint)


def approve_requests(owner: Hub) -> None:
    """Let the benchmark's owner say yes to every cohort and model that asked for a place."""
    for association in owner.associations():
        if association["state"] == "requested" and association["may_approve"]:
            owner.decide(association["association_id"], approve=True)


def require_answered(evaluations: list[Record]) -> None:
    """Raise the coded reason where a silo declined an evaluation or the hub refused its answer."""
    for evaluation in evaluations:
        if evaluation["state"] in ("declined", "refused", "cancelled") and evaluation["code"]:
            raise MedSiloError(evaluation["code"], f"evaluation {evaluation['evaluation_id']}")
