"""How a silo joins, is compared, suspended and shut out."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from federation_hub.db import now
from federation_hub.silos.service import SILO, judge_code
from federation_hub.silos.tables import EnrolmentCode
from federation_hub.states import StateConflict
from silo_node.wire.envelope import key_fingerprint, new_key, public_key_text
from silo_node.wire.versions import HEADER
from tests.hub.federation import Federation


def code_of(answer) -> str:  # type: ignore[no-untyped-def]
    return answer.get_json()["code"]


def test_a_silo_joins_by_code_and_works_once_its_fingerprint_was_compared(federation: Federation) -> None:
    """The token of the receipt opens nothing but the silo's own state until an admin has approved the key."""
    silo = federation.pending_silo()
    assert silo.get("/silo").get_json()["state"] == "pending"
    assert code_of(silo.post("/tasks/claim", {"kinds": ["evaluation"]})) == "silo-not-active"
    fingerprint = key_fingerprint(public_key_text(silo.key.public_key()))
    approved = federation.admin.post(f"/silos/{silo.silo_id}/approve", {"fingerprint": fingerprint})
    assert approved.get_json()["state"] == "active"
    assert silo.get("/silo").get_json()["state"] == "active"
    assert silo.claim() is None
    assert [after for _, _, after in federation.audit(silo.silo_id)] == ["invited", "pending", "active"]


@pytest.mark.parametrize("typed", ["upper", "joined"])
def test_a_fingerprint_is_compared_whatever_its_spaces_and_case(federation: Federation, typed: str) -> None:
    """People read digits aloud; spaces and capitals do not matter."""
    silo = federation.pending_silo()
    fingerprint = key_fingerprint(public_key_text(silo.key.public_key()))
    fingerprint = fingerprint.upper() if typed == "upper" else fingerprint.replace(" ", "")
    assert federation.admin.post(f"/silos/{silo.silo_id}/approve", {"fingerprint": fingerprint}).status_code == 200


def test_another_fingerprint_is_refused_and_nothing_changes(federation: Federation) -> None:
    """The key of somebody in the middle has another fingerprint."""
    silo = federation.pending_silo()
    other = key_fingerprint(public_key_text(new_key().public_key()))
    assert code_of(federation.admin.post(f"/silos/{silo.silo_id}/approve", {"fingerprint": other})) == (
        "fingerprint-mismatch"
    )
    assert silo.get("/silo").get_json()["state"] == "pending"


def test_a_wrong_code_is_refused(federation: Federation) -> None:
    """A code nobody gave out opens nothing."""
    federation.invite()
    assert code_of(federation.enrol("AAAA-BBBB-CCCC-DDDD")) == "enrolment-code-invalid"


def test_an_expired_code_is_refused_and_a_new_one_works(federation: Federation) -> None:
    """Codes last a quarter of an hour; the admin can make another for the same place."""
    code = federation.invite()["code"]
    with federation.services.database.session() as session:
        session.execute(update(EnrolmentCode).values(expires=now() - timedelta(seconds=1)))
    assert code_of(federation.enrol(code)) == "enrolment-code-expired"
    assert federation.enrol(federation.invite()["code"]).status_code == 201


def test_a_code_works_once(federation: Federation) -> None:
    """The second one who uses a code is told so; the first key stays."""
    code = federation.invite()["code"]
    first = federation.enrol(code).get_json()
    assert code_of(federation.enrol(code)) == "enrolment-code-used"
    assert len(federation.audit(first["silo_id"])) == 2


def test_a_new_code_ends_the_one_before(federation: Federation) -> None:
    """Only the last code that was given out is good."""
    first, second = federation.invite()["code"], federation.invite()["code"]
    assert code_of(federation.enrol(first)) == "enrolment-code-expired"
    assert federation.enrol(second).status_code == 201


def test_no_key_joins_twice(federation: Federation) -> None:
    """Two silos with one key could sign for each other."""
    key = new_key()
    federation.enrol(federation.invite("A")["code"], key)
    assert code_of(federation.enrol(federation.invite("B")["code"], key)) == "already-enrolled"


def test_codes_and_tokens_are_not_in_the_database(federation: Federation) -> None:
    """Whoever steals the database can neither enrol nor act as anybody."""
    invited = federation.invite()
    silo = federation.silo("B")
    stored = b"".join(path.read_bytes() for path in federation.services.config.home.glob("hub.sqlite*"))
    assert invited["silo_id"].encode() in stored
    assert invited["code"].encode() not in stored
    assert silo.token.encode() not in stored


def test_a_suspended_silo_is_shut_out_until_it_is_reinstated(federation: Federation) -> None:
    """Its token stays, and opens only its own state meanwhile."""
    silo = federation.silo()
    federation.admin.post(f"/silos/{silo.silo_id}/suspend")
    assert code_of(silo.post("/tasks/claim", {"kinds": ["round"]})) == "silo-not-active"
    assert silo.get("/silo").get_json()["state"] == "suspended"
    federation.admin.post(f"/silos/{silo.silo_id}/reinstate")
    assert silo.claim() is None


def test_a_revoked_silo_has_no_token_any_more(federation: Federation) -> None:
    """Revocation is immediate and for good."""
    silo = federation.silo()
    federation.admin.post(f"/silos/{silo.silo_id}/revoke")
    assert code_of(silo.get("/silo")) == "not-authenticated"
    assert code_of(federation.admin.post(f"/silos/{silo.silo_id}/reinstate")) == "state-conflict"


@pytest.mark.parametrize("path", ["", "/approve", "/suspend", "/revoke"])
def test_only_the_admin_decides_about_silos(federation: Federation, path: str) -> None:
    """A researcher with every other role invites and admits nobody."""
    silo = federation.pending_silo()
    other = federation.person("Eve", "researcher", "benchmark-owner", "data-steward", "reader")
    target = f"/silos/{silo.silo_id}{path}" if path else "/silos"
    assert code_of(other.post(target, {"name": "X", "organisation": "Y"})) == "not-permitted"


def test_a_silo_must_say_which_wire_version_it_speaks(federation: Federation) -> None:
    """One that speaks another version is told so, not misunderstood."""
    silo = federation.silo()
    answer = silo.request("GET", "/silo", headers={HEADER: "99"})
    assert (answer.status_code, code_of(answer)) == (426, "wire-version-unsupported")


def test_others_see_no_fingerprint(federation: Federation) -> None:
    """A researcher learns which silos there are, not what only the two ends compare."""
    silo = federation.silo()
    seen = federation.researcher().get(f"/silos/{silo.silo_id}").get_json()
    assert (seen["name"], seen["fingerprint"], seen["last_seen"]) == ("St. Example", None, None)
    assert federation.admin.get(f"/silos/{silo.silo_id}").get_json()["fingerprint"]


def test_the_machine_lets_nobody_skip_the_comparison() -> None:
    """No event leads from invited to active, and none out of revoked."""
    with pytest.raises(StateConflict):
        SILO.after("invited", "approve")
    assert SILO.final == {"revoked"}


def test_a_used_code_is_told_apart_from_an_expired_one() -> None:
    """Used comes first: it may mean that somebody else was faster."""
    at = now()
    assert judge_code(at - timedelta(1), at, at) == "enrolment-code-used"
    assert judge_code(at, None, at) == "enrolment-code-expired"
    assert judge_code(at + timedelta(1), None, at) is None
