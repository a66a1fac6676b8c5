"""Keys that follow one another, requests that count once, and receipts that outlive a silo's standing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import select, text, update

from federation_hub.accounts.tables import AuditEntry, Token
from federation_hub.db import Database
from federation_hub.migrations.runner import alembic_config, migrate
from federation_hub.silos.keys import forget_nonces
from federation_hub.silos.tables import RequestNonce, SiloKeyRow
from silo_node.wire.base import Message
from silo_node.wire.enrolment import KeyRotation, KeyRotationReceipt, SiloKeys
from silo_node.wire.envelope import (
    Envelope,
    key_id,
    new_key,
    open_envelope,
    public_key_text,
    seal,
    signed_again,
)
from silo_node.wire.proof import PROOF_HEADER, WINDOW, prove
from tests.hub.federation import Federation, SiloCaller, definition

PATH = "/silo/rotation"


def public(key: Any) -> str:
    return public_key_text(key.public_key())


def hand_in(silo: SiloCaller, envelope: Envelope, **changes: Any) -> Any:
    """Hand in a statement with a proof that may be wrong in one way."""
    data = envelope.model_dump_json().encode()
    values = {"key": silo.key, "method": "POST", "path": f"/api/v1{PATH}", "body": data, "now": datetime.now(UTC)}
    header = changes.pop("header", None) or prove(**(values | changes))
    return silo.request("POST", PATH, data=data, headers={"Content-Type": "application/json", PROOF_HEADER: header})


def wish(silo: SiloCaller, key: Any, **changes: Any) -> Envelope:
    """Return a silo's wish for another key, signed by both."""
    assert silo.key is not None
    message = KeyRotation(silo_id=silo.silo_id, public_key=public(key)).model_copy(update=changes)
    return signed_again(seal(message, silo.key), silo.key, key)


def code(answer: Any) -> str | None:
    found: str | None = answer.get_json()["code"] if answer.status_code >= 400 else None
    return found


def rotated(federation: Federation, silo: SiloCaller) -> tuple[SiloCaller, KeyRotationReceipt]:
    """Rotate, and return the silo with its new key and token."""
    key = new_key()
    answer = silo.post(PATH, wish(silo, key))
    assert answer.status_code == 200, answer.text
    receipt = KeyRotationReceipt.model_validate_json(answer.data)
    return SiloCaller(silo.http, receipt.token, silo.silo_id, key, silo.hub_key), receipt


def statement(silo: SiloCaller) -> Message:
    return KeyRotation(silo_id=silo.silo_id, public_key=public(silo.key))


# rotation


def test_key_and_token_follow_and_the_earlier_ones_count_for_a_day(federation: Federation) -> None:
    """What was signed before and is on its way arrives; afterwards only the new ones count."""
    federation.publish()
    before = federation.silo()
    after, receipt = rotated(federation, before)
    assert timedelta(hours=23) < receipt.previous_until - datetime.now(UTC) <= timedelta(hours=24)
    assert before.register_cohort(definition()).status_code == 201
    assert after.register_cohort(definition(), "second").status_code == 201
    with federation.services.database.session() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(SiloKeyRow).where(SiloKeyRow.until.is_not(None)).values(until=past))
        session.execute(update(Token).where(Token.expires == receipt.previous_until).values(expires=past))
    assert code(before.get("/silo")) == "not-authenticated"
    stolen = SiloCaller(before.http, after.token, before.silo_id, before.key, before.hub_key)
    assert code(stolen.register_cohort(definition(), "third")) == "proof-invalid"
    assert after.get("/silo").status_code == 200


def test_the_audit_trail_says_which_key_followed_which(federation: Federation) -> None:
    before = federation.silo()
    after, _ = rotated(federation, before)
    with federation.services.database.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "silo.rotate")).one()
    assert (entry.before, entry.after) == (key_id(public(before.key))[:16], key_id(public(after.key))[:16])


def test_asking_again_after_a_lost_answer_changes_nothing_but_the_token(federation: Federation) -> None:
    """The node cannot know whether the hub has heard it."""
    silo, key = federation.silo(), new_key()
    first = silo.post(PATH, wish(silo, key)).get_json()
    second = silo.post(PATH, wish(silo, key)).get_json()
    assert first["token"] != second["token"]
    assert len(federation.anybody.get(f"/silos/{silo.silo_id}/keys").get_json()["keys"]) == 2


def test_a_token_is_exchanged_without_another_key(federation: Federation) -> None:
    silo = federation.silo()
    assert silo.key is not None
    answer = silo.post(PATH, seal(statement(silo), silo.key)).get_json()
    fresh = SiloCaller(silo.http, answer["token"], silo.silo_id, silo.key, silo.hub_key)
    expires = datetime.fromisoformat(fresh.get("/silo").get_json()["token_expires"])
    assert timedelta(days=364) < expires - datetime.now(UTC) <= timedelta(days=365)
    assert len(federation.anybody.get(f"/silos/{silo.silo_id}/keys").get_json()["keys"]) == 1


def test_nobody_rotates_without_both_keys(federation: Federation) -> None:
    """A stolen token is not enough, nor is somebody else's public key."""
    silo, other, key = federation.silo(), federation.silo("Other"), new_key()
    assert silo.key is not None
    assert other.key is not None
    message = KeyRotation(silo_id=silo.silo_id, public_key=public(key))
    refused = {
        "only the old one": seal(message, silo.key),
        "only the new one": seal(message, key),
        "another silo's": wish(silo, key, silo_id=other.silo_id),
        "a thief's": signed_again(seal(message, key), other.key, key),
    }
    for name, envelope in refused.items():
        assert code(silo.post(PATH, envelope)) == "bad-envelope", name
    assert code(silo.post(PATH, wish(silo, other.key))) == "already-enrolled"


# freshness


def test_a_request_counts_once(federation: Federation) -> None:
    """Whoever has recorded it, such as a proxy that opens TLS, cannot hand it in again."""
    silo = federation.silo()
    assert silo.key is not None
    envelope = seal(statement(silo), silo.key)
    header = prove(silo.key, "POST", f"/api/v1{PATH}", envelope.model_dump_json().encode(), datetime.now(UTC))
    assert hand_in(silo, envelope, header=header).status_code == 200
    assert code(hand_in(silo, envelope, header=header)) == "request-replayed"
    assert hand_in(silo, envelope).status_code == 200


@pytest.mark.parametrize("late", [-WINDOW - timedelta(seconds=5), WINDOW + timedelta(seconds=5)])
def test_a_request_counts_for_two_minutes(federation: Federation, late: timedelta) -> None:
    silo = federation.silo()
    assert silo.key is not None
    envelope = seal(statement(silo), silo.key)
    assert code(hand_in(silo, envelope, now=datetime.now(UTC) - late)) == "clock-skew"
    assert hand_in(silo, envelope, now=datetime.now(UTC) - late * 0.9).status_code == 200


def test_a_proof_is_for_one_request_of_one_silo(federation: Federation) -> None:
    """Not for another path, method or body, nor by another key; garbage is refused without a fault."""
    silo = federation.silo()
    assert silo.key is not None
    envelope = seal(statement(silo), silo.key)
    wrong: list[dict[str, Any]] = [
        {"path": "/api/v1/silo/cohorts"},
        {"method": "PUT"},
        {"body": b"{}"},
        {"key": new_key()},
        {"header": "x"},
        {"header": "1.2.3"},
        {"header": "9" * 5000},
        {"header": f"{10**30}.{'a' * 22}.AAAA"},
    ]
    for change in wrong:
        assert code(hand_in(silo, envelope, **change)) == "proof-invalid", change
    assert code(silo.request("POST", PATH, json=envelope.model_dump(mode="json"))) == "proof-missing"


def test_nonces_are_forgotten_once_their_time_is_out_of_the_window(federation: Federation) -> None:
    silo = federation.silo()
    assert silo.key is not None
    hand_in(silo, seal(statement(silo), silo.key))
    with federation.services.database.session() as session:
        forget_nonces(session, datetime.now(UTC))
        assert len(session.scalars(select(RequestNonce)).all()) == 1
        forget_nonces(session, datetime.now(UTC) + 3 * WINDOW)
        assert session.scalars(select(RequestNonce)).all() == []


# suspension and revocation


@pytest.mark.parametrize(("event", "refusal"), [("suspend", "silo-not-active"), ("revoke", "not-authenticated")])
def test_it_takes_effect_at_once_and_receipts_stay_verifiable(federation: Federation, event: str, refusal: str) -> None:
    """The next request is refused; what the silo signed before can be verified by anybody, with any key it had."""
    federation.publish()
    before = federation.silo()
    receipt = before.seal(statement(before))
    after, _ = rotated(federation, before)
    assert federation.admin.post(f"/silos/{after.silo_id}/{event}").status_code == 200
    for silo in (before, after):
        assert code(silo.post("/tasks/claim", {"kinds": ["evaluation"]})) == refusal
        assert code(silo.register_cohort(definition())) == refusal
    keys = SiloKeys.model_validate_json(federation.anybody.get(f"/silos/{after.silo_id}/keys").data).keys
    assert [key.until is None for key in keys] == [False, True]
    assert open_envelope(receipt, KeyRotation, keys[0].public_key).silo_id == before.silo_id


def test_the_migration_makes_present_keys_the_first_of_their_history(tmp_path: Path) -> None:
    """A hub that was in use before keys could follow one another."""
    database = Database(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    with database.engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0002")
        at = "2026-05-03 00:00:00"
        connection.execute(text(f"INSERT INTO organisation VALUES ('org-1', 'Fir Hospital', '{at}')"))
        connection.execute(
            text(
                "INSERT INTO silo (id, name, organisation_id, state, public_key, publication, created, enrolled)"
                " VALUES "
                f"('silo-1', 'Fir', 'org-1', 'active', 'key', 'withheld', '{at}', '{at}'),"
                f"('silo-2', 'Oak', 'org-1', 'invited', NULL, 'withheld', '{at}', NULL)"
            )
        )
    migrate(database)
    with database.reading() as session:
        rows = session.scalars(select(SiloKeyRow)).all()
    assert [(row.silo_id, row.public_key, row.until) for row in rows] == [("silo-1", "key", None)]
    database.close()
