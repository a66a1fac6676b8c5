"""What the console shows besides: the log, the policy, tasks, the node itself."""

import html
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silo_node.agent.health import Pulse
from silo_node.agent.tasks import TaskBook
from silo_node.cli import app as silo_node
from silo_node.console.rules import rules
from silo_node.console.words import departure, time_left
from silo_node.identity import load_identity
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.policy import Decision, Policy
from silo_node.state import Home
from silo_node.wire.envelope import seal
from silo_node.wire.estimates import EstimateBlock, RefusedModel
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import EvaluationTask, Task
from tests.silo.console.browsing import item, signed_in
from tests.silo.stand_in import StandIn


def test_a_broken_log_is_shown_as_broken(fresh: tuple[Home, StandIn]) -> None:
    home, _ = fresh
    home.egress_log.write_text(home.egress_log.read_text().replace('"size":1210', '"size":1211'))
    page = signed_in(home).get("/left").text
    assert "The egress log&#39;s chain is broken" in page
    assert "holds" not in page


def test_the_log_tells_every_body_with_its_digest(home: Home) -> None:
    page = signed_in(home).get("/left?show=all").text
    assert "asked for work" in page
    assert "registered a cohort: fingerprint and card" in page
    assert page.count('<td class="digest"') == 9


def test_every_rule_of_the_policy_has_a_sentence() -> None:
    """So that nobody has to read TOML to know what this site refuses."""
    assert [rule.name for rule in rules(Policy()) if not rule.sentence] == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ClaimRequest", "asked for work"),
        ("Envelope[application/vnd.medsilo.estimate-block+json]", "sent the results of an evaluation"),
        ("Envelope[application/vnd.medsilo.new-thing+json]", "new-thing"),
    ],
)
def test_what_left_is_told_in_words(kind: str, words: str) -> None:
    assert departure(kind) == words


def test_why_a_task_is_done_or_refused_is_told_for_each_model(fresh: tuple[Home, StandIn]) -> None:
    """By the policy as it stands now, and by the code in this site's answer; the same as the command says."""
    home, hub = fresh
    written = home.policy_file.read_text().replace("minimum_cohort = 20", "minimum_cohort = 10")
    home.policy_file.write_text(written + '\n[requesters]\norganisations = ["Lakeside"]\n')
    block, journal = item(home, "estimate-block"), Journal(home)
    told = EstimateBlock.model_validate_json(block.envelope.payload_bytes())
    third = "blake3:" + "d" * 64
    asked = EvaluationTask(
        evaluation_id=told.evaluation_id,
        benchmark=told.benchmark,
        cohort=told.cohort,
        models=tuple(ModelReference(digest=digest, size=10) for digest in (*told.models[:2], third)),
        owners=("Lakeside", "Hillside", "Lakeside"),
        attempt=1,
    )
    task = Task(task_id="task-00000009", silo_id=told.silo_id, issued=told.started, body=asked)
    TaskBook(journal).claim(task.task_id, asked.kind, seal(task, hub.key))
    refused = (RefusedModel(model=third, code="policy-model-tier"),)
    answer = told.model_copy(update={"task_id": task.task_id, "refused": refused})
    held = Outbox(journal).add(
        block.kind, task.task_id, seal(answer, load_identity(home).key), Decision("hold", None, "release.results")
    )
    journal.close()
    client = signed_in(home)
    assert '<a href="/work/task-00000009">' in client.get("/work").text
    page = html.unescape(client.get("/work/task-00000009").text)
    assert "Yes: rule benchmarks.allow decided." in page
    assert "of Hillside: No [policy-requester]: rule requesters.organisations decided." in page
    assert "In this site's answer it was refused" in page
    assert "Models this site says no to" in client.get(f"/approvals/{held.item_id}").text
    called = ["--home", str(home.path), "policy", "explain", task.task_id, "--json"]
    said = json.loads(CliRunner().invoke(silo_node, called).stdout)
    assert [(model["code"], model["answered"]) for model in said["models"]] == [
        (None, None),
        ("policy-requester", None),
        (None, "policy-model-tier"),
    ]
    assert client.get("/work/task-99999999").status_code == 404
    assert client.get("/work/task-00000002").status_code == 200


def test_the_time_left_is_judged_by_the_time_so_far() -> None:
    assert time_left(30, 60, 600.0) == "about 10 min left"
    assert time_left(0, 60, 600.0) == ""
    assert time_left(59, 60, 60.0) == "a few seconds left"


def test_the_first_page_says_whether_the_node_runs(fresh: tuple[Home, StandIn]) -> None:
    """By what the node itself said within the last minute."""
    home, _ = fresh
    client = signed_in(home)
    assert "The node is not running" in client.get("/home/live").text
    pulse = Pulse(home)
    pulse.reached()
    pulse.beat(("task-00000003",))
    assert "The node runs and is at work." in client.get("/home/live").text
    pulse.trouble("hub-gone", "hub-unreachable")
    pulse.beat(())
    assert "the hub cannot be reached" in client.get("/home/live").text
    pulse.end("stopped")
    assert "The node is not running" in client.get("/home/live").text


def test_a_site_that_has_nothing_yet_is_told_how_to_begin(tmp_path: Path) -> None:
    """Every page stands before the node is enrolled, and the first one says what comes next."""
    client = signed_in(Home(tmp_path).create())
    for path in ("/", "/approvals", "/work", "/cohorts", "/studies", "/left", "/policy", "/health"):
        assert client.get(path).status_code == 200, path
    assert "silo-node enrol --hub" in client.get("/").text
    assert "There is no policy file yet" in client.get("/policy").text


@pytest.mark.parametrize("path", ["/", "/approvals", "/work", "/cohorts", "/studies", "/left", "/policy", "/health"])
def test_every_page_of_a_site_without_patients_says_so(home: Home, path: str) -> None:
    assert "<strong>Synthetic data.</strong> No patient stands behind" in signed_in(home).get(path).text


def test_a_site_with_patients_says_nothing_of_the_kind(fresh: tuple[Home, StandIn]) -> None:
    home, _ = fresh
    home.config_file.write_text("")
    assert "No patient stands behind" not in signed_in(home).get("/cohorts").text
