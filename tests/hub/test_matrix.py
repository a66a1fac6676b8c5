"""Sites by models: where each cell is, why it is empty, asking again; and results that are disputed."""

import re
from typing import Any

import pytest

from federation_hub.evaluations.matrix import Asked, Site, cell
from federation_hub.evaluations.rules import BLOCK
from silo_node.wire.estimates import ClassEstimates, MetricEstimate
from silo_node.wire.tasks import Decline, Heartbeat
from tests.hub.browsing import signed_in, visitor
from tests.hub.federation import Federation, definition
from tests.hub.test_entries import LAW, board, digest_of, reporting

PATH = "/benchmarks/chest_phantom/1"
SOUND = "Sound <b>{{ 7 * 7 }}</b>"


def cells(federation: Federation) -> list[list[tuple[str, str | None]]]:
    """Return the state and code of every cell, a list a model."""
    answer = federation.admin.get(f"{PATH}/matrix")
    assert answer.status_code == 200, answer.text
    return [[(found["state"], found["code"]) for found in row["cells"]] for row in answer.get_json()["models"]]


def asked(models: str, **facts: Any) -> Asked:
    """Return an evaluation of some models, open and waiting, with changes."""
    ordinary = {"evaluation_id": "eval-000001", "state": "open", "code": None, "attempt": 1, "task_state": "offered"}
    return Asked(models=frozenset(models), **{**ordinary, **facts})


def test_every_cell_has_a_state_and_an_empty_one_a_cause(federation: Federation) -> None:
    """A hospital that runs, one that said no, one that has not consented; then all have answered or not."""
    benchmark = federation.publish(auto_approve_cohorts=False, **LAW)
    silos = [federation.silo(name) for name in ("One", "Two", "Three")]
    for silo in silos:
        assert silo.register_cohort(benchmark).status_code < 300
    waiting = federation.admin.get("/associations").get_json()["associations"]
    for place in waiting[:2]:
        federation.admin.post(f"/associations/{place['association_id']}/decision", {"approve": True})
    ada = federation.researcher()
    digest = digest_of(ada, 1)
    assert cells(federation) == [[("waiting", None), ("waiting", None), ("missing", "consent-waiting")]]
    first, second = silos[0].claim(), silos[1].claim()
    assert first is not None
    assert second is not None
    silos[0].post(f"/tasks/{first.task_id}/heartbeat", Heartbeat(state="running", done=3, total=50))
    silos[1].post(f"/tasks/{second.task_id}/decline", Decline(code="policy-benchmark"))
    assert cells(federation)[0][:2] == [("running", None), ("declined", "policy-benchmark")]
    (entry,) = ada.get(f"/models/{digest}/entries").get_json()["entries"]
    site = entry["sites"][0]
    assert (site["site"], site["state"], site["done"]) == ("Site A", "running", 3)
    assert [site["code"] for site in entry["sites"]] == [None, "policy-benchmark", "consent-waiting"]
    assert not entry["settled"]
    silos[0].post(f"/tasks/{first.task_id}/heartbeat", Heartbeat(state="held", done=50, total=50))
    assert cells(federation)[0][0] == ("held", None)


def test_a_cell_is_asked_again_for_a_reason(federation: Federation) -> None:
    """Only that hospital gets a task; the result that is replaced keeps why."""
    benchmark = federation.publish(**LAW)
    silos = [federation.silo(name) for name in ("One", "Two")]
    for silo in silos:
        silo.register_cohort(benchmark)
    digest_of(federation.researcher(), 1)
    for silo in silos:
        reporting(silo)
    body = {"silo_id": silos[0].silo_id, "reason": "labels-corrected"}
    (made,) = federation.admin.post(f"{PATH}/evaluations", body).get_json()["evaluations"]
    assert (made["attempt"], made["reason"]) == (2, "labels-corrected")
    assert silos[1].claim() is None
    reporting(silos[0])
    results = [row["result"] for row in federation.admin.get("/evaluations").get_json()["evaluations"]]
    assert {(row["state"], row["reason"]) for row in results} == {
        ("accepted", None),
        ("superseded", "labels-corrected"),
    }
    unknown = {"silo_id": "silo-000000", "reason": None}
    assert federation.admin.post(f"{PATH}/evaluations", unknown).get_json()["code"] == "not-found"
    assert federation.admin.post(f"{PATH}/evaluations", {"reason": "because"}).status_code == 422


def test_the_matrix_is_the_owners(federation: Federation) -> None:
    """Another organisation's owner is refused."""
    federation.publish()
    assert federation.person("Bo", "benchmark-owner").get(f"{PATH}/matrix").get_json()["code"] == "not-permitted"


def test_an_undefined_result_says_why(federation: Federation) -> None:
    """A hospital with too few cases of a class has answered and has no number."""
    benchmark = federation.publish(**LAW)
    silo = federation.silo()
    silo.register_cohort(benchmark)
    digest_of(federation.researcher(), 1)
    task = silo.claim()
    assert task is not None
    metric = MetricEstimate(metric="auroc", status="undefined", reason="too-few-positives")
    classes = (ClassEstimates(label="opacity", positives=None, negatives=None, metrics=(metric,)),)
    answer = silo.answer(task, classes=classes, limits=definition(**LAW).disclosure)
    assert answer.get_json()["state"] == "accepted", answer.text
    assert cells(federation) == [[("undefined", "too-few-positives")]]


def test_a_disputed_result_leaves_the_board_until_it_is_decided(federation: Federation) -> None:
    """Whom it concerns may dispute, the benchmark's owner decides, and not on his own dispute; the page tells why."""
    benchmark = federation.publish(**LAW)
    silo = federation.silo()
    silo.register_cohort(benchmark)
    ada = federation.researcher()
    digest_of(ada, 1, "Mine")
    reporting(silo)
    (row,) = federation.admin.get("/evaluations").get_json()["evaluations"]
    path = f"/evaluations/{row['evaluation_id']}"
    wish = {"reason": "labels-wrong"}
    assert federation.researcher("Eve").post(f"{path}/dispute", wish).get_json()["code"] == "not-found"
    assert ada.post(f"{path}/dispute", {"reason": "I do not like it"}).get_json()["code"] == "malformed-message"
    assert ada.post(f"{path}/dispute", wish).get_json()["state"] == "disputed"
    assert ada.post(f"{path}/dispute", wish).get_json()["code"] == "already-disputed"
    assert board(federation) == {"Mine": "awaiting"}
    page = federation.anybody.http.get(path).text
    assert "is disputed" in page
    assert "labels wrong" in page
    assert cells(federation) == [[("disputed", "labels-wrong")]]
    for because in (None, "", "x" * 501, "two\nlines"):
        refused = federation.admin.post(f"{path}/settlement", {"uphold": True, "because": because})
        assert (refused.status_code, refused.get_json()["fields"]) == (422, ["because"])
    sound = {"uphold": True, "because": "Both readers agree. <b>{{ 7 * 7 }}</b>"}
    upheld = federation.admin.post(f"{path}/settlement", sound).get_json()
    assert (upheld["state"], upheld["reason"], upheld["decision"]) == ("accepted", None, sound["because"])
    (seen,) = ada.get("/evaluations").get_json()["evaluations"]
    assert seen["result"]["decision"] == sound["because"]
    assert "Both readers" not in federation.anybody.http.get(path).text
    assert board(federation)["Mine"] != "awaiting"
    assert federation.admin.post(f"{path}/dispute", wish).get_json()["state"] == "disputed"
    assert federation.admin.post(f"{path}/settlement", sound).get_json()["code"] == "same-person"
    assert federation.admin.post(f"{path}/settlement", {"uphold": False}).get_json()["state"] == "withdrawn"
    assert federation.admin.post(f"{path}/settlement", {"uphold": False}).get_json()["code"] == "state-conflict"
    assert cells(federation) == [[("withdrawn", "labels-wrong")]]
    assert [after for _, _, after in federation.audit(row["result"]["digest"])] == [
        "accepted",
        "disputed",
        "accepted",
        "disputed",
        "withdrawn",
    ]


def test_a_result_is_disputed_and_decided_about_in_the_browser(federation: Federation) -> None:
    """From the model's page to the form; the owner sees it waiting and decides; a form of another site does nothing."""
    benchmark = federation.publish(**LAW)
    silo = federation.silo()
    silo.register_cohort(benchmark, publication="withheld")
    ada = signed_in(federation, "Ada", "researcher")
    hidden = digest_of(federation.researcher("Eve"), 2, "Secret", visibility="private")
    digest = digest_of(federation.person("Ada's program", "researcher", organisation="University"), 1, "Mine")
    reporting(silo)
    found = re.search(r"/account/evaluations/eval-\w+", ada.get(f"/account/models/{digest}").text)
    assert found is not None
    path = found[0]
    page = ada.get(path).text
    assert ("Synthetic data." in page, "Dispute this result" in page) == (True, True)
    assert ("Mine" in page, "Secret" in page, hidden in page) == (True, False, False)
    assert "Decide" not in page
    wish = {"reason": "labels-wrong"}
    assert ada.send(f"{path}/dispute", wish, site="cross-site").status_code == 403
    assert ada.send(f"{path}/dispute", {"reason": "<script>"}).status_code == 422
    assert signed_in(federation, "Bo", "researcher", organisation="Elsewhere").get(path).status_code == 404
    assert visitor(federation.app).get(path).status_code == 303
    assert ada.send(f"{path}/dispute", wish).headers["Location"] == path
    assert board(federation) == {"Mine": "awaiting"}
    page = ada.get(path).text
    assert "It is disputed" in page
    assert "labels wrong, given by University" in page
    assert "Dispute this result" not in page
    assert ada.send(f"{path}/settlement", {"uphold": "true"}).status_code == 403
    assert ada.send(f"{path}/dispute", wish).status_code == 409
    steward = signed_in(federation, "Stew", "data-steward", organisation="St. Example Hospital")
    assert visitor(federation.app).get(path.removeprefix("/account")).status_code == 404, "the hospital keeps it back"
    assert f'href="{path}"' in steward.get("/dashboard").text
    assert "Secret" not in steward.get(path).text
    root = signed_in(federation, "Root", "hub-admin", organisation="Hub operator")
    assert path in root.get("/dashboard").text
    assert "Secret" in root.get(path).text
    assert root.send(f"{path}/settlement", {"uphold": "true", "because": ""}).status_code == 422
    assert root.send(f"{path}/settlement", {"uphold": "true", "because": SOUND}).status_code == 303
    assert "Decided because: Sound &lt;b&gt;{{ 7 * 7 }}&lt;/b&gt;" in ada.get(path).text
    assert board(federation)["Mine"] != "awaiting"
    assert root.send(f"{path}/dispute", {"reason": "implausible"}).status_code == 303
    assert "Let it stand" not in root.get(path).text
    assert root.send(f"{path}/settlement", {"uphold": "false", "reason": "cohort-wrong"}).status_code == 303
    assert "withdrawn after a dispute" in ada.get(path).text
    assert cells(federation)[0] == [("withdrawn", "cohort-wrong")]
    assert path not in root.get("/dashboard").text


def test_an_owner_orders_entries_and_names_the_baseline(federation: Federation) -> None:
    """A priority decides who is in a report that is full; another organisation sets nothing."""
    federation.publish()
    digest = digest_of(federation.researcher(), 1)
    path = f"{PATH}/entries/{digest}/settings"
    assert federation.admin.post(path, {"priority": 7}).get_json() == {"priority": 7, "baseline": None}
    assert federation.admin.post(path, {"baseline": True}).get_json() == {"priority": 7, "baseline": True}
    (row,) = federation.admin.get(f"{PATH}/matrix").get_json()["models"]
    assert (row["priority"], row["baseline"]) == (7, True)
    other = federation.person("Bo", "benchmark-owner")
    assert other.post(path, {"priority": 1}).get_json()["code"] == "not-permitted"
    assert federation.admin.post(f"{PATH}/entries/none/settings", {}).get_json()["code"] == "model-unknown"


@pytest.mark.parametrize("side", ["models", "cohorts"])
def test_listed_organisations_are_approved_by_rule(federation: Federation, side: str) -> None:
    """Others wait for the owner's word."""
    listed = {"models": ["Ada's institute"], "cohorts": ["One Hospital"]}[side]
    benchmark = federation.publish(
        auto_approve_models=False, auto_approve_cohorts=False, **{f"approve_{side}_of": listed}
    )
    if side == "models":
        digest_of(federation.researcher(), 1)
        digest_of(federation.researcher("Eve"), 2)
    else:
        for name in ("One", "Two"):
            federation.silo(name).register_cohort(benchmark)
    found = federation.admin.get("/associations").get_json()["associations"]
    assert [place["state"] for place in found] == ["approved", "requested"]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], ("waiting", None)),
        ([asked("b")], ("waiting", None)),
        ([asked("ab", task_state="claimed")], ("running", None)),
        ([asked("ab"), asked("a", state="answered", result="accepted")], ("released", None)),
        ([asked("ab"), asked("a", state="declined", code="policy-study")], ("waiting", None)),
        ([asked("b"), asked("a", state="declined", code="policy-study")], ("declined", "policy-study")),
        ([asked("b", result="accepted"), asked("ab", result="superseded")], ("waiting", None)),
        ([asked("ab", result="accepted", refused={"a": "policy-model-tier"})], ("declined", "policy-model-tier")),
        ([asked("a", state="refused", code="estimate-not-psd")], ("refused", "estimate-not-psd")),
    ],
)
def test_a_result_that_counts_goes_before_whatever_was_asked_last(
    history: list[Asked], expected: tuple[str, str | None]
) -> None:
    """The rule of a cell, over what was asked, newest first."""
    found = cell("a", Site("silo-000001", "Site A", None, tuple(history)), None)
    assert (found.state, found.code) == expected


def test_a_disputed_result_is_upheld_or_goes_for_good() -> None:
    """No event leads back from withdrawn."""
    assert BLOCK.final == {"superseded", "withdrawn"}


def test_a_full_report_says_so_of_those_it_leaves_out() -> None:
    """The cause stands where no hospital has one of its own."""
    assert cell("a", Site("silo-000001", "Site A", None, ()), "block-full").code == "block-full"
    assert cell("a", Site("silo-000001", "Site A", "too-few-cases", ()), "block-full").code == "too-few-cases"
