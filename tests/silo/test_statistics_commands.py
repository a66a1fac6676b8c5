"""A question about the cohort as a hospital's own people meet it: shown, released, kept here, refused, explained."""

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from silo_node.agent.claims import Claim
from silo_node.agent.node import Node
from silo_node.agent.statistics import answer
from silo_node.agent.tasks import TaskBook
from silo_node.benchmarks import keep_benchmark
from silo_node.cohorts.build import build_cohort
from silo_node.cohorts.registry import mark_registered, prepare_registration
from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.identity import gate
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.policy import decide_release, load_policy
from silo_node.state import Home
from silo_node.wire.cohorts import CohortRegistration
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import Envelope, seal
from silo_node.wire.errors import PolicyRefusal
from silo_node.wire.statistics import Condition, StatisticsQuestion, StatisticsTask
from silo_node.wire.tasks import ResultAnswer, Task
from tests.silo.peer import Exchange, peer
from tests.silo.preparations import classification, fit
from tests.silo.sources import npz_site, write_table
from tests.silo.stand_in import SILO, StandIn, enrolled, home_at, node_at
from tests.silo.test_cohort_cli import SiloNode

POLICY = """\
minimum_cohort = 20

[benchmarks]
allow = ["little_xray"]

[release]
results = "hold"
"""
BY_SEX = StatisticsQuestion(attribute="sex")


class Accepting(StandIn):
    """A stand-in that takes every result."""

    def __call__(self, exchange: Exchange) -> None:
        if not exchange.path.endswith("/result"):
            super().__call__(exchange)
            return
        self.told.append((exchange.path, json.loads(exchange.received.body)))
        exchange.say(ResultAnswer(state="accepted"))


@dataclass
class Hospital:
    """A node with sixty patients: 32 women and 25 men at one maker's machine, 3 women at another's."""

    home: Home
    hub: StandIn
    node: Node
    registration: CohortRegistration
    asked: int = 0

    @property
    def command(self) -> SiloNode:
        return SiloNode(self.home.path)

    def ask(self, question: StatisticsQuestion) -> str:
        """Put a question to the node as its agent does; return the task's id. Raises what the node declines with."""
        self.asked += 1
        body = StatisticsTask(
            query_id=f"query-{self.asked:08}",
            benchmark=self.registration.benchmark,
            cohort=self.registration.fingerprint,
            question=question,
            organisation="University",
        )
        task = Task(task_id=f"task-{self.asked:08}", silo_id=SILO, issued=datetime(2026, 5, 3, tzinfo=UTC), body=body)
        with (
            closing(Journal(self.home)) as journal,
            closing(Hub("http://127.0.0.1:9", gate(self.home), NodeConfig())) as nobody,
        ):
            TaskBook(journal).claim(task.task_id, body.kind, seal(task, self.hub.key))
            report = answer(self.node, nobody, Claim(task, 30), body, journal)
            release = decide_release(load_policy(self.home), "results")
            Outbox(journal).add("statistics-report", task.task_id, seal(report, self.node.identity.key), release)
        return task.task_id

    def waiting(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.command.json("outbox", "list")
        return [entry for entry in found if entry["kind"] == "statistics-report" and entry["state"] == "held"]


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    home, hub, definition, source = home_at(tmp_path), Accepting(), classification(), tmp_path / "source"
    enrolled(home, hub)
    home.policy_file.write_text(POLICY)
    npz_site(source, 60)
    rows = [
        {"path": f"site.npz#{index}", "label": index % 2, "patient": f"P{index:06d}", "sex": "FM"[index >= 35],
         "maker": "SIEMENS" if index < 3 else "GE"}
        for index in range(60)
    ]  # fmt: skip
    table = write_table(source / "table.csv", rows)
    take_in(home, TableSource(table, source, collection="little_xray", modality="DX"), IntakeRules("little_xray"))
    keep_benchmark(home, definition)
    cohort = build_cohort(home, definition, fit, minimum_cases=20, collection="little_xray").cohort.cohort_id
    registration = prepare_registration(home, cohort, silo_id=SILO, provenance="synthetic")
    mark_registered(home, cohort, "coh-3k9f0q2m")
    return Hospital(home, hub, node_at(home, "http://127.0.0.1:9"), registration)


def test_what_would_leave_is_shown_released_and_booked(hospital: Hospital) -> None:
    """Rounded counts; of a table with a small cell both are withheld. It arrives as it was shown."""
    hospital.ask(BY_SEX)
    (held,) = hospital.waiting()
    shown = hospital.command.json("outbox", "show", held["item"])
    told = {cell["level"]: cell["patients"] for cell in shown["content"]["cells"]}
    assert told == {"f": 35, "m": 25}
    assert "counts of patients" in hospital.command("outbox", "show", held["item"]).stdout
    with peer(hospital.hub) as server:
        hospital.home.config_file.write_text(f'hub_url = "{server.url}"\n')
        hospital.command.json("outbox", "release", held["item"])
        assert hospital.command.json("outbox", "show", held["item"])["state"] == "acknowledged"
    (sent,) = hospital.hub.heard("/result")
    assert digest_bytes(Envelope.model_validate_json(json.dumps(sent)).payload_bytes()) == shown["digest"]
    entries = hospital.command.json("privacy", "ledger")["entries"]
    assert [(entry["kind"], entry["subject"]) for entry in entries] == [("statistics", "query-00000001")]


def test_what_is_kept_here_is_a_code_at_the_hub(hospital: Hospital) -> None:
    hospital.ask(BY_SEX)
    (held,) = hospital.waiting()
    with peer(hospital.hub) as server:
        hospital.home.config_file.write_text(f'hub_url = "{server.url}"\n')
        hospital.command.json("outbox", "reject", held["item"])
    assert hospital.hub.heard("/decline") == [{"code": "policy-refuses-release", "retry": False}]
    assert hospital.hub.heard("/result") == []
    assert hospital.command.code("outbox", "release", held["item"]) == "state-conflict"
    assert hospital.command.code("outbox", "show", "out-nothing") == "not-found"


def test_small_cells_and_differences_are_never_told(hospital: Hospital) -> None:
    """Three women at another machine: withheld in a table, the lowest band in a search, and not by what is left."""
    hospital.ask(StatisticsQuestion(attribute="maker"))
    hospital.ask(StatisticsQuestion(where=(Condition(attribute="maker", levels=("siemens",)),)))
    table, band = (hospital.command.json("outbox", "show", one["item"])["content"] for one in hospital.waiting())
    assert {cell["level"]: cell["patients"] for cell in table["cells"]} == {"ge": None, "siemens": None}
    assert (band["band"], band["cells"]) == ("fewer-than-20", [])
    hospital.ask(BY_SEX)
    with pytest.raises(PolicyRefusal, match="policy-differencing"):
        hospital.ask(StatisticsQuestion(attribute="sex", where=(Condition(attribute="maker", levels=("ge",)),)))


@pytest.mark.parametrize(
    ("change", "code", "rule"),
    [
        ("minimum_cohort = 20\n", "policy-benchmark", "benchmarks"),
        (POLICY.replace("= 20", "= 500"), "policy-minimum-cohort", "minimum_cohort"),
    ],
)
def test_a_refusal_is_explained_by_the_rule_that_made_it(hospital: Hospital, change: str, code: str, rule: str) -> None:
    hospital.home.policy_file.write_text(change)
    with pytest.raises(PolicyRefusal, match=code):
        hospital.ask(BY_SEX)
    assert hospital.waiting() == []
    explained = hospital.command.json("policy", "explain", f"task-{hospital.asked:08}")
    assert (explained["code"], explained["rule"].split(".")[0]) == (code, rule)
    assert hospital.command.code("policy", "explain", "task-nothing") == "not-found"


def test_a_budget_ends_exact_counts(hospital: Hospital) -> None:
    hospital.home.policy_file.write_text(POLICY + "\n[budget]\nepsilon = 1.0\n")
    with pytest.raises(PolicyRefusal, match="privacy-budget"):
        hospital.ask(BY_SEX)
    assert hospital.command.json("privacy", "ledger")["entries"] == []
