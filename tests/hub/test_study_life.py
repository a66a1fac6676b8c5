"""A study's life around its rounds: consent, quorum, pause, stop, silos that leave, engines that come and go."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from sqlalchemy import select

from federation_hub.accounts.service import add_person
from federation_hub.associations.tables import Association
from federation_hub.config import HubConfig
from federation_hub.engine.engine import Engine
from federation_hub.studies import rounds
from federation_hub.studies.rounds import RoundKey
from federation_hub.studies.tables import StudyUpdate
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import ClaimRequest, Decline
from tests.hub.running import START, Federation, running_hub
from tests.sites import Arrays, Person, toy_plan

ZERO: Arrays = {name: np.zeros_like(array) for name, array in START.items()}


@pytest.fixture
def federation(hub_config: HubConfig, tmp_path: Path) -> Iterator[Federation]:
    with running_hub(hub_config) as hub:
        made = Federation(hub, tmp_path)
        yield made
        made.close()


def answer_all(federation: Federation, places: tuple[int, ...] = (0, 1, 2)) -> None:
    for place in places:
        site, door = federation.sites[place], federation.doors[place]
        site.answer_round(door, site.claim(door), lambda weights, number: ZERO)


def refused(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def association(federation: Federation, study_id: str, place: int) -> str:
    with federation.hub.services.database.reading() as session:
        wanted = Association.study_id == study_id, Association.silo_id == federation.sites[place].silo_id
        return session.scalars(select(Association.id).where(*wanted)).one()


def test_a_silo_sees_the_whole_plan_before_it_agrees(federation: Federation) -> None:
    study_id = federation.create(rounds=7)
    (asked,) = federation.doors[0].claim(ClaimRequest(kinds=("round",))).consents
    assert (asked.study_id, asked.plan.rounds, asked.organisation) == (study_id, 7, "University")
    assert asked.hub_public_key == federation.hub.services.public_key


def test_whoever_asks_cannot_approve(federation: Federation) -> None:
    """Neither the researcher who planned the study nor the hub's admin can agree for a silo."""
    study_id = federation.create()
    assert federation.decide(association(federation, study_id, 0), approve=True) in (403, 404)
    body = b'{"approve":true,"reason":null}'
    answer = federation.hub.admin.ask("POST", f"/associations/{association(federation, study_id, 0)}/decision", body)
    assert answer.status_code in (403, 404)
    consents = {silo["consent"] for silo in federation.researcher.study(study_id)["silos"]}
    assert consents == {"requested"}


def test_a_study_starts_with_its_quorum_and_not_before(federation: Federation) -> None:
    study_id = federation.create(quorum=2, rounds=1)
    federation.sites[0].consent(federation.doors[0])
    assert refused(federation.researcher.ask("POST", f"/studies/{study_id}/start")) == (409, "state-conflict")
    federation.sites[1].consent(federation.doors[1])
    federation.start(study_id)
    answer_all(federation, (0, 1))
    answer_all(federation, (0, 1))
    assert federation.researcher.wait_for(study_id, "completed")["rounds"][0]["sites"] == 2


def test_a_silo_that_agrees_late_joins_the_next_round(federation: Federation) -> None:
    study_id = federation.create(quorum=2, rounds=2)
    for place in (0, 1):
        federation.sites[place].consent(federation.doors[place])
    federation.start(study_id)
    federation.sites[0].answer_round(
        federation.doors[0], federation.sites[0].claim(federation.doors[0]), lambda weights, number: ZERO
    )
    federation.sites[2].consent(federation.doors[2])
    answer_all(federation, (1,))
    for _ in range(2):
        answer_all(federation)
    view = federation.researcher.wait_for(study_id, "completed")
    assert [entry["sites"] for entry in view["rounds"]] == [2, 3, 3]


def test_a_missed_quorum_is_tried_three_times_and_then_fails_the_study(federation: Federation) -> None:
    """Each attempt starts from the same model; the study ends with a reason and keeps what was committed."""
    study_id = federation.running(rounds=2, quorum=3, deadline_seconds=600)
    answer_all(federation)
    for _ in range(3):
        answer_all(federation, (0, 1))
        federation.pass_deadline(study_id)
    view = federation.researcher.wait_for(study_id, "failed")
    assert view["code"] == "quorum-missed"
    assert [(entry["round"], entry["attempt"], entry["state"]) for entry in view["rounds"]] == [
        (1, 1, "committed"),
        (2, 1, "abandoned"),
        (2, 2, "abandoned"),
        (2, 3, "abandoned"),
    ]
    assert view["committed"] == 1


def test_a_round_that_missed_its_quorum_is_made_up_for(federation: Federation) -> None:
    study_id = federation.running(rounds=1, quorum=3, deadline_seconds=600)
    answer_all(federation, (0, 1))
    federation.pass_deadline(study_id)
    answer_all(federation)
    answer_all(federation)
    view = federation.researcher.wait_for(study_id, "completed")
    assert [(entry["round"], entry["attempt"], entry["sites"]) for entry in view["rounds"]] == [
        (1, 1, 0),
        (1, 2, 3),
        (2, 1, 3),
    ]


def test_a_silo_that_declines_is_not_waited_for(federation: Federation) -> None:
    """The round closes with the others at once, long before its deadline, and shows the silo's reason."""
    study_id = federation.running(rounds=1, quorum=2, deadline_seconds=600)
    site, door = federation.sites[0], federation.doors[0]
    door.decline(site.claim(door).task_id, Decline(code="policy-study"))
    answer_all(federation, (1, 2))
    answer_all(federation)
    view = federation.researcher.wait_for(study_id, "completed")
    first = {update["silo_id"]: (update["state"], update["code"]) for update in view["rounds"][0]["updates"]}
    assert first[site.silo_id] == ("rejected", "policy-study")


def test_a_suspended_silo_is_not_waited_for(federation: Federation) -> None:
    study_id = federation.running(rounds=1, quorum=2, deadline_seconds=600)
    answer_all(federation, (0, 1))
    federation.hub.admin.do("POST", f"/silos/{federation.sites[2].silo_id}/suspend")
    answer_all(federation, (0, 1))
    assert federation.researcher.wait_for(study_id, "completed")["rounds"][0]["sites"] == 2


def test_a_silo_may_take_its_consent_back_in_mid_round(federation: Federation) -> None:
    """Its task is cancelled, its answer would be late, and it is asked for nothing more."""
    study_id = federation.running(rounds=1, quorum=2, deadline_seconds=600)
    site, door = federation.sites[0], federation.doors[0]
    task = site.claim(door)
    site.decide(door, association(federation, study_id, 0), approve=False)
    assert site.report(door, task, None).state == "late"
    answer_all(federation, (1, 2))
    answer_all(federation, (1, 2))
    view = federation.researcher.wait_for(study_id, "completed")
    assert {silo["consent"] for silo in view["silos"] if silo["silo_id"] == site.silo_id} == {"ended"}


def test_a_pause_lets_the_open_round_finish_and_opens_no_other(federation: Federation) -> None:
    study_id = federation.running(rounds=2)
    answer_all(federation, (0,))
    federation.researcher.do("POST", f"/studies/{study_id}/pause")
    answer_all(federation, (1, 2))
    time.sleep(1)
    view = federation.researcher.study(study_id)
    assert [entry["state"] for entry in view["rounds"]] == ["committed"]
    federation.researcher.do("POST", f"/studies/{study_id}/resume")
    answer_all(federation)
    answer_all(federation)
    assert federation.researcher.wait_for(study_id, "completed")["committed"] == 2


def test_a_stop_ends_the_round_at_once_and_keeps_what_was_committed(federation: Federation) -> None:
    study_id = federation.running(rounds=3)
    answer_all(federation)
    task = federation.sites[0].claim(federation.doors[0])
    view = federation.researcher.do("POST", f"/studies/{study_id}/stop")
    assert (view["state"], view["committed"]) == ("stopped", 1)
    assert [(entry["state"], entry["code"]) for entry in view["rounds"]][-1] == ("abandoned", "study-stopped")
    assert federation.sites[0].report(federation.doors[0], task, None).state == "late"
    assert refused(federation.researcher.ask("POST", f"/studies/{study_id}/resume")) == (409, "state-conflict")


def test_only_the_own_organisation_steers_a_study(federation: Federation) -> None:
    study_id = federation.create()
    with federation.hub.services.database.session() as session:
        token = add_person(session, name="Eve", organisation="Elsewhere", roles=["researcher"])
    stranger = Person(federation.hub.url, token)
    assert refused(stranger.ask("GET", f"/studies/{study_id}")) == (404, "study-unknown")
    assert refused(stranger.ask("POST", f"/studies/{study_id}/stop")) == (404, "study-unknown")
    assert stranger.do("GET", "/studies") == {"studies": [], "next": None}
    plan = toy_plan(federation.model, federation.sites).model_dump_json()
    assert refused(stranger.ask("POST", "/studies", plan)) == (404, "model-unknown")


def test_a_hospital_sees_its_own_numbers_and_no_other_ones(federation: Federation) -> None:
    """The state of every site's update is there for all who take part; norms and scores only for one's own site."""
    study_id = federation.running(rounds=1)
    answer_all(federation, (0, 1))
    with federation.hub.services.database.session() as session:
        token = add_person(session, name="Steward", organisation="Site 0 hospital", roles=["data-steward"])
    seen = Person(federation.hub.url, token).study(study_id)["rounds"][0]["updates"]
    numbers = {update["silo_id"]: (update["norm"], update["score"]) for update in seen if update["state"] == "verified"}
    assert numbers == {federation.sites[0].silo_id: (0.0, 0.5), federation.sites[1].silo_id: (None, None)}
    own = federation.researcher.study(study_id)["rounds"][0]["updates"]
    assert [update["score"] for update in own].count(0.5) == 2


@pytest.mark.parametrize(
    ("model", "silos", "code"),
    [
        (ModelReference(digest="blake3:" + "0" * 64, size=1), None, "model-unknown"),
        (None, ("silo-000000000000",), "plan-invalid"),
    ],
)
def test_a_plan_that_names_what_is_not_there_is_refused(
    federation: Federation, model: ModelReference | None, silos: tuple[str, ...] | None, code: str
) -> None:
    changes = {"silos": silos, "quorum": 1} if silos else {}
    plan = toy_plan(model or federation.model, federation.sites, **changes)
    answer = federation.researcher.ask("POST", "/studies", plan.model_dump_json())
    assert answer.json()["code"] == code
    assert federation.researcher.do("GET", "/studies") == {"studies": [], "next": None}


def test_a_plan_that_cannot_hold_its_promise_is_refused(federation: Federation) -> None:
    """Krum against one liar needs five updates a round; FedBN needs layers that have something to keep."""
    for changes, code in (({"robust": "krum"}, "plan-rule-sites"), ({"personal": "fedbn"}, "plan-fedbn-idle")):
        plan = toy_plan(federation.model, federation.sites, **changes)
        answer = federation.researcher.ask("POST", "/studies", plan.model_dump_json())
        assert refused(answer) == (422, code)


def test_a_round_goes_by_its_rule_and_stops_without_the_trusted_silo(federation: Federation) -> None:
    """The trusted site declines: the round is abandoned at once, although the quorum of others could be met."""
    root = federation.sites[0].silo_id
    study_id = federation.running(rounds=1, quorum=2, deadline_seconds=600, robust={"name": "fltrust", "root": root})
    federation.doors[0].decline(federation.sites[0].claim(federation.doors[0]).task_id, Decline(code="policy-study"))
    view = federation.researcher.study(study_id)
    deadline = time.monotonic() + 30
    while view["rounds"][0]["state"] != "abandoned":
        assert time.monotonic() < deadline
        time.sleep(0.05)
        view = federation.researcher.study(study_id)
    assert view["rounds"][0]["code"] == "quorum-missed"
    federation.researcher.do("POST", f"/studies/{study_id}/stop")


def test_a_new_engine_goes_on_where_the_old_one_stopped(federation: Federation) -> None:
    """Between two updates of a round the engine is stopped and another launched: nothing is lost or counted twice."""
    study_id = federation.running(rounds=1)
    answer_all(federation, (0,))
    services = federation.hub.services
    assert services.engine is not None
    services.engine.shutdown()
    answer_all(federation, (1,))
    again = Engine(services.config)
    again.launch(services)
    try:
        answer_all(federation, (2,))
        answer_all(federation)
        view = federation.researcher.wait_for(study_id, "completed")
        assert [entry["sites"] for entry in view["rounds"]] == [3, 3]
    finally:
        again.shutdown()


def test_a_study_started_where_no_engine_runs_is_found_by_the_next_one(hub_config: HubConfig, tmp_path: Path) -> None:
    """As with separate web and worker processes, or a kill between the decision and the engine's note of it."""
    with running_hub(hub_config, engine=False) as hub:
        federation = Federation(hub, tmp_path)
        study_id = federation.running(rounds=1)
        worker = Engine(hub.services.config)
        worker.launch(hub.services)
        try:
            answer_all(federation)
            answer_all(federation)
            federation.researcher.wait_for(study_id, "completed")
        finally:
            worker.shutdown()
            federation.close()


def test_every_step_of_a_round_may_run_again(hub_config: HubConfig, tmp_path: Path) -> None:
    """Opening, settling, folding and committing twice leaves one round, one fold and the same model."""
    with running_hub(hub_config, engine=False) as hub:
        federation = Federation(hub, tmp_path)
        study_id = federation.running(rounds=1)
        key = RoundKey(study_id, 1, 1)
        for _ in range(2):
            rounds.first_global_model(hub.services, study_id)
        for _ in range(2):
            rounds.open_round(hub.services, key, validate_only=False)
        answer_all(federation)
        assert [rounds.settle(hub.services, key) for _ in range(2)] == ["close", "close"]
        folded = [rounds.fold_round(hub.services, key) for _ in range(2)]
        assert folded[0] == folded[1]
        assert [rounds.commit_round(hub.services, key, folded[0].digest) for _ in range(2)] == [True, True]
        with hub.services.database.reading() as session:
            assert [row.state for row in session.scalars(select(StudyUpdate))] == ["folded"] * 3
        federation.close()
