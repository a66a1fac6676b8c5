"""Every update is judged before it counts: what is refused, with which code, and that the round goes on without it."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import create_model
from safetensors.numpy import load_file, save_file

from federation_hub.config import HubConfig
from silo_node.identity import load_identity
from silo_node.wire.envelope import seal
from silo_node.wire.errors import MedSiloError
from silo_node.wire.studies import RoundReport, SiteScore
from silo_node.wire.transfers import BlobReference
from tests.hub.running import START, Federation, running_hub
from tests.sites import Arrays, averaged

ZERO: Arrays = {name: np.zeros_like(array) for name, array in START.items()}
ONE: Arrays = {name: np.ones_like(array) for name, array in START.items()}


@pytest.fixture
def federation(hub_config: HubConfig, tmp_path: Path) -> Iterator[Federation]:
    with running_hub(hub_config) as hub:
        made = Federation(hub, tmp_path)
        yield made
        made.close()


def with_value(value: float) -> Arrays:
    spoilt = {name: array.copy() for name, array in ZERO.items()}
    spoilt["conv.weight"][1, 2, 3] = value
    return spoilt


BAD: dict[str, tuple[Arrays, str]] = {
    "a NaN": (with_value(np.nan), "update-not-finite"),
    "an infinity": (with_value(-np.inf), "update-not-finite"),
    "a norm over the bound": (with_value(1e3), "update-norm"),
    "an infinite norm": (with_value(3e38), "update-norm"),
    "a missing tensor": ({name: ZERO[name] for name in ZERO if name != "scale"}, "update-name-missing"),
    "an extra tensor": (ZERO | {"steps": np.zeros(1, np.float32)}, "update-name-extra"),
    "another shape": (ZERO | {"conv.bias": np.zeros((7, 1), np.float32)}, "update-shape"),
    "another dtype": (ZERO | {"conv.bias": np.zeros(7, np.float64)}, "update-dtype"),
}


def test_bad_updates_are_refused_and_the_round_goes_on(federation: Federation) -> None:
    """One site sends each kind of bad update, a round each; the model is the average of the two honest sites."""
    study_id = federation.running(rounds=len(BAD), quorum=2, norm_bound=100)
    honest = federation.sites[:2]
    expected = START
    for arrays, code in BAD.values():
        for site, door in zip(honest, federation.doors, strict=False):
            assert site.send(door, site.claim(door), ONE).state == "accepted"
        site, door = federation.sites[2], federation.doors[2]
        answer = site.send(door, site.claim(door), arrays)
        assert (answer.state, answer.code) == ("refused", code)
        weights = {site.silo_id: site.training_cases for site in honest}
        expected = averaged(expected, dict.fromkeys(weights, ONE), weights)
    for site, door in zip(federation.sites, federation.doors, strict=True):
        task = site.claim(door)
        last = load_file(site.weights(door, task))
        site.report(door, task, None)
    assert {name: array.tobytes() for name, array in last.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    view = federation.researcher.wait_for(study_id, "completed")
    refused = [
        (update["silo_id"], update["code"])
        for entry in view["rounds"]
        for update in entry["updates"]
        if update["state"] == "rejected"
    ]
    assert refused == [(federation.sites[2].silo_id, code) for _, code in BAD.values()]
    assert [entry["sites"] for entry in view["rounds"]] == [2] * len(BAD) + [3]


def test_a_claimed_weight_is_an_undeclared_field(federation: Federation) -> None:
    """A site cannot make itself heavier: a report with a weight is not a report, and nothing of it is kept."""
    study_id = federation.running(rounds=1)
    site, door = federation.sites[0], federation.doors[0]
    task = site.claim(door)
    heavier = create_model("RoundReport", __base__=RoundReport, weight=(int, ...))
    report = heavier(
        task_id=task.task_id,
        study_id=study_id,
        silo_id=site.silo_id,
        round=1,
        plan_digest=task.body.plan_digest,
        base=task.body.weights.digest,
        cohort=site.cohort,
        update=None,
        score=SiteScore(metric="auroc", value=0.5, cases=20),
        train_seconds=0.0,
        weight=10**12,
    )
    with pytest.raises(MedSiloError, match="bad-envelope"):
        door.result(task.task_id, seal(report, load_identity(site.home).key))
    (update,) = [
        update
        for update in federation.researcher.study(study_id)["rounds"][0]["updates"]
        if update["silo_id"] == site.silo_id
    ]
    assert update["state"] == "expected"


def test_an_update_that_was_never_uploaded_is_refused(federation: Federation) -> None:
    federation.running(rounds=1)
    site, door = federation.sites[0], federation.doors[0]
    answer = site.report(door, site.claim(door), BlobReference(digest="blake3:" + "0" * 64, size=10))
    assert (answer.state, answer.code) == ("refused", "update-unsound")


def test_a_file_that_is_no_safetensors_file_is_refused(federation: Federation, tmp_path: Path) -> None:
    """Even where its header would crash a careless reader: a dtype that is a list, a length beyond the file."""
    federation.running(rounds=1, quorum=1)
    header = json.dumps({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}).encode()
    for place, content in enumerate((struct.pack("<Q", len(header)) + header + bytes(4), b"\xff" * 64)):
        site, door = federation.sites[place], federation.doors[place]
        task = site.claim(door)
        path = tmp_path / "bad"
        path.write_bytes(content)
        answer = site.report(door, task, door.upload(path, "update"))
        assert (answer.state, answer.code) == ("refused", "update-unsound")


def test_another_base_or_cohort_is_refused(federation: Federation) -> None:
    federation.running(rounds=1, quorum=1)
    changes = ({"base": "blake3:" + "0" * 64}, {"cohort": "keyed-blake3:" + "0" * 64}, {"round": 2})
    codes = ("update-base", "cohort-changed", "report-wrong-task")
    for site, door, change, code in zip(federation.sites, federation.doors, changes, codes, strict=True):
        answer = site.send(door, site.claim(door), ZERO, **change)
        assert (answer.state, answer.code) == ("refused", code)


def test_the_weight_is_the_registered_cohort_when_the_round_opened(federation: Federation) -> None:
    """A site that registers a larger cohort in mid-round weighs as it did when the round was opened."""
    study_id = federation.running(rounds=1)
    tasks = [site.claim(door) for site, door in zip(federation.sites, federation.doors, strict=True)]
    weights = {site.silo_id: site.training_cases for site in federation.sites}
    heavy = federation.sites[0]
    old = heavy.cohort
    heavy.cohort, heavy.training_cases = "keyed-blake3:" + "5" * 64, 10**6
    heavy.register_cohort()
    differences = {site.silo_id: ONE if site is heavy else ZERO for site in federation.sites}
    for site, door, task in zip(federation.sites, federation.doors, tasks, strict=True):
        assert site.send(door, task, differences[site.silo_id]).state == "accepted"
    task = heavy.claim(federation.doors[0])
    found = load_file(heavy.weights(federation.doors[0], task))
    assert old != heavy.cohort
    assert np.array_equal(found["conv.weight"], averaged(START, differences, weights)["conv.weight"])
    assert federation.researcher.study(study_id)["state"] == "running"


def test_a_late_update_is_recorded_and_not_folded(federation: Federation) -> None:
    """The round closes at its deadline with a quorum; the straggler is told so, and joins the next round."""
    study_id = federation.running(rounds=2, quorum=2, deadline_seconds=600)
    slow, slow_door = federation.sites[2], federation.doors[2]
    late = slow.claim(slow_door)
    for site, door in zip(federation.sites[:2], federation.doors[:2], strict=True):
        site.send(door, site.claim(door), ZERO)
    federation.pass_deadline(study_id)
    next_task = federation.sites[0].claim(federation.doors[0])
    assert next_task.body.round == 2
    answer = slow.report(slow_door, late, BlobReference(digest="blake3:" + "0" * 64, size=10))
    assert (answer.state, answer.code) == ("late", "update-stale")
    assert slow.claim(slow_door).body.round == 2
    first = federation.researcher.study(study_id)["rounds"][0]
    assert {update["silo_id"]: update["state"] for update in first["updates"]}[slow.silo_id] == "late"
    assert first["sites"] == 2


def test_the_same_report_twice_counts_once(federation: Federation) -> None:
    """A site that lost the answer sends its report again and gets the same one."""
    study_id = federation.running(rounds=1)
    site, door = federation.sites[0], federation.doors[0]
    task = site.claim(door)
    path = site.home.path / "update"
    save_file(ZERO, path)
    blob = door.upload(path, "update")
    assert [site.report(door, task, blob).state for _ in range(2)] == ["accepted", "accepted"]
    with pytest.raises(MedSiloError, match="task-done"):
        site.report(door, task, None)
    states = [update["state"] for update in federation.researcher.study(study_id)["rounds"][0]["updates"]]
    assert states.count("verified") == 1


def test_updates_that_need_no_training_count_and_are_marked(federation: Federation) -> None:
    """One site sends nought, then the model's last change once more; another the same file twice; one trains."""
    study_id = federation.running(rounds=2)
    rng = np.random.default_rng(5)

    def trained() -> Arrays:
        return {name: np.asarray(rng.normal(size=array.shape), np.float32) for name, array in START.items()}

    def answer(choose: Callable[[Arrays], tuple[Arrays, ...]]) -> Arrays:
        tasks = [site.claim(door) for site, door in zip(federation.sites, federation.doors, strict=True)]
        weights = load_file(federation.sites[0].weights(federation.doors[0], tasks[0]))
        for site, door, task, arrays in zip(federation.sites, federation.doors, tasks, choose(weights), strict=True):
            assert site.send(door, task, arrays).state == "accepted"
        return weights

    again = trained()
    first = answer(lambda weights: (ZERO, again, trained()))
    answer(lambda now: ({name: np.asarray(now[name] - first[name]) for name in now}, again, trained()))
    for site, door in zip(federation.sites, federation.doors, strict=True):
        site.report(door, site.claim(door), None)
    view = json.loads(json.dumps(federation.researcher.wait_for(study_id, "completed")))
    found = [[update["mark"] for update in entry["updates"]] for entry in view["rounds"][:2]]
    order = [federation.sites.index(site) for site in sorted(federation.sites, key=lambda site: site.silo_id)]
    told = [("update-idle", None, None), ("update-repeated", "update-repeated", None)]
    assert found == [[marks[place] for place in order] for marks in told]
    assert {update["state"] for entry in view["rounds"][:2] for update in entry["updates"]} == {"folded"}
    page = federation.researcher.page(f"/studies/{study_id}")
    assert "Updates that stand out" in page
    assert page.count("<code>update-repeated</code>") == 2
