"""Consent is mutual: whoever asks cannot approve, and either side can end it."""

import pytest

from federation_hub.accounts.actors import Actor
from federation_hub.associations.service import ASSOCIATION, Consent, event_of, judge_decision
from silo_node.wire.cohorts import AssociationDecision
from tests.hub.federation import Caller, Federation, SiloCaller, bundle_bytes


def only(caller: Caller) -> dict[str, object]:
    """Return the one association a person sees."""
    (found,) = caller.get("/associations").get_json()["associations"]
    return dict(found)


def decide(caller: Caller, found: dict[str, object], *, approve: bool):  # type: ignore[no-untyped-def]
    """Decide about an association."""
    return caller.post(f"/associations/{found['association_id']}/decision", {"approve": approve})


def test_a_model_takes_its_place_when_the_benchmark_s_owner_agrees(federation: Federation) -> None:
    """Until then it is evaluated nowhere."""
    benchmark = federation.publish(auto_approve_models=False)
    silo = federation.silo()
    silo.register_cohort(benchmark)
    ada = federation.researcher()
    assert ada.submit(bundle_bytes()).get_json()["benchmarks"][0]["state"] == "requested"
    assert silo.claim() is None
    answer = decide(federation.admin, only(ada), approve=True)
    assert answer.get_json()["state"] == "approved"
    assert silo.claim() is not None


def test_whoever_asks_cannot_approve(federation: Federation) -> None:
    """Neither the one who asked nor a colleague of the same organisation, whatever their roles."""
    federation.publish(auto_approve_models=False)
    ada = federation.person("Ada", "researcher", "benchmark-owner", "hub-admin", organisation="University")
    bo = federation.person("Bo", "benchmark-owner", "hub-admin", organisation="University")
    ada.submit(bundle_bytes())
    for caller in (ada, bo):
        assert decide(caller, only(caller), approve=True).get_json()["code"] == "same-side"
    assert only(ada)["state"] == "requested"
    assert only(ada)["may_approve"] is False


def test_the_owner_of_a_benchmark_cannot_let_in_a_model_of_the_house(federation: Federation) -> None:
    """Where one organisation owns both, the hub's admin of another one decides."""
    owner = federation.person("Ada", "researcher", "benchmark-owner", organisation="University")
    from tests.hub.federation import definition

    owner.post("/benchmarks", definition(auto_approve_models=False))
    owner.submit(bundle_bytes())
    assert decide(owner, only(owner), approve=True).get_json()["code"] == "same-side"
    assert decide(federation.admin, only(owner), approve=True).get_json()["state"] == "approved"


def test_a_third_party_neither_sees_nor_decides(federation: Federation) -> None:
    """It is as if there were nothing."""
    federation.publish(auto_approve_models=False)
    ada, eve = federation.researcher(), federation.person("Eve", "researcher", "benchmark-owner")
    ada.submit(bundle_bytes())
    assert eve.get("/associations").get_json()["associations"] == []
    assert decide(eve, only(ada), approve=True).get_json()["code"] == "not-found"


def test_a_cohort_asks_and_the_benchmark_s_owner_answers(federation: Federation) -> None:
    """The silo cannot approve its own request, but it can take it back."""
    benchmark = federation.publish(auto_approve_cohorts=False)
    silo = federation.silo()
    assert silo.register_cohort(benchmark).get_json()["association"] == "requested"
    (asked,) = silo.get("/silo/associations").get_json()["associations"]
    assert asked["subject"] == silo.fingerprint_of("first")
    assert signed(silo, asked, approve=True).get_json()["code"] == "same-side"
    assert decide(federation.admin, only(federation.admin), approve=True).get_json()["state"] == "approved"
    assert signed(silo, asked, approve=False).get_json()["state"] == "ended"


def test_a_silo_leaves_a_benchmark_and_its_work_is_taken_back(federation: Federation) -> None:
    """Ending an approved association cancels what nobody has begun."""
    silo = federation.silo()
    silo.register_cohort(federation.publish())
    federation.researcher().submit(bundle_bytes())
    (found,) = silo.get("/silo/associations").get_json()["associations"]
    assert signed(silo, found, approve=False).get_json()["state"] == "ended"
    assert silo.claim() is None
    assert [row["state"] for row in federation.admin.get("/evaluations").get_json()["evaluations"]] == ["cancelled"]


def test_a_decision_must_be_signed_by_the_silo_it_names(federation: Federation) -> None:
    """Another silo's signature, another silo's association or another address is refused."""
    silo, other = federation.silo("A"), federation.silo("B")
    silo.register_cohort(federation.publish())
    (found,) = silo.get("/silo/associations").get_json()["associations"]
    path = f"/silo/associations/{found['association_id']}/decision"
    theirs = AssociationDecision(association_id=found["association_id"], silo_id=other.silo_id, approve=False)
    mine = theirs.model_copy(update={"silo_id": silo.silo_id})
    assert silo.post(path, other.seal(mine)).get_json()["code"] == "bad-envelope"
    assert other.post(path, other.seal(mine)).get_json()["code"] == "bad-envelope"
    assert other.post(path, other.seal(theirs)).get_json()["code"] == "not-found"
    elsewhere = mine.model_copy(update={"association_id": "assoc-000000000000"})
    assert silo.post(path, silo.seal(elsewhere)).get_json()["code"] == "bad-envelope"


def test_what_was_declined_can_be_asked_again(federation: Federation) -> None:
    """Registering the same cohort again asks again; the no before stays in the audit trail."""
    benchmark = federation.publish(auto_approve_cohorts=False)
    silo = federation.silo()
    silo.register_cohort(benchmark)
    found = only(federation.admin)
    decide(federation.admin, found, approve=False)
    assert silo.register_cohort(benchmark).get_json()["association"] == "requested"
    assert [after for _, _, after in federation.audit(str(found["association_id"]))] == [
        "requested",
        "declined",
        "requested",
    ]


def signed(silo: SiloCaller, found: dict[str, str], *, approve: bool):  # type: ignore[no-untyped-def]
    """Send a silo's signed decision."""
    decision = AssociationDecision(association_id=found["association_id"], silo_id=silo.silo_id, approve=approve)
    return silo.post(f"/silo/associations/{found['association_id']}/decision", silo.seal(decision))


STUDY = Consent("silo-study", "per-ada", "org-hospital", "org-owner", "silo-1")


@pytest.mark.parametrize(
    ("actor", "refusal"),
    [
        (Actor("silo", "silo-1", frozenset({"silo"}), "org-hospital"), None),
        (Actor("silo", "silo-2", frozenset({"silo"}), "org-hospital"), "not-found"),
        (Actor("person", "per-ada", frozenset({"researcher"}), "org-hospital"), "same-side"),
        (Actor("person", "per-root", frozenset({"hub-admin"}), "org-hub"), "not-found"),
    ],
)
def test_only_the_silo_itself_agrees_to_a_study(actor: Actor, refusal: str | None) -> None:
    """Not even the hub's admin can say yes for a hospital; a researcher of the same hospital may ask it."""
    assert judge_decision(STUDY, actor, approve=True) == refusal


def test_a_no_ends_what_was_approved_and_declines_what_was_asked() -> None:
    """One word, two meanings, by the state it meets."""
    assert ASSOCIATION.after("approved", event_of("approved", approve=False)) == "ended"
    assert ASSOCIATION.after("requested", event_of("requested", approve=False)) == "declined"
