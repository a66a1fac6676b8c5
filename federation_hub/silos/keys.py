"""A silo's keys over time: which count now, how one follows another, and which requests were handed in already."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Token
from federation_hub.accounts.tokens import new_token, token_hash
from federation_hub.db import Database, now
from federation_hub.silos.tables import RequestNonce, Silo, SiloKeyRow
from silo_node.wire.enrolment import KeyRotation, KeyRotationReceipt, SiloKey, SiloKeys
from silo_node.wire.envelope import BadEnvelope, Envelope, key_id, open_envelope
from silo_node.wire.errors import MedSiloError, WireError
from silo_node.wire.proof import WINDOW, check_proof


def keys_now(session: Session, silo_id: str) -> list[str]:
    """Return the keys whose signatures count now: the present one, and an earlier one while it overlaps."""
    counts = or_(SiloKeyRow.until.is_(None), SiloKeyRow.until > now())
    rows = select(SiloKeyRow.public_key).where(SiloKeyRow.silo_id == silo_id, counts).order_by(SiloKeyRow.id.desc())
    return list(session.scalars(rows))


def keys_ever(session: Session, silo_id: str) -> SiloKeys:
    """Return every key a silo has had; raises ``not-found`` where it never had one."""
    rows = session.scalars(select(SiloKeyRow).where(SiloKeyRow.silo_id == silo_id).order_by(SiloKeyRow.id)).all()
    if not rows:
        raise MedSiloError("not-found")
    keys = tuple(SiloKey(public_key=row.public_key, since=row.since, until=row.until) for row in rows)
    return SiloKeys(silo_id=silo_id, keys=keys)


def first_key(session: Session, silo: Silo, public_key: str) -> None:
    """Note the key a silo has enrolled with. Any it had before its new invitation counts no longer."""
    for row in session.scalars(select(SiloKeyRow).where(SiloKeyRow.silo_id == silo.id, SiloKeyRow.until.is_(None))):
        row.until = now()
    silo.public_key = public_key
    session.add(SiloKeyRow(silo_id=silo.id, public_key=public_key))


def new_silo_token(session: Session, silo_id: str, lifetime: timedelta | None) -> tuple[str, datetime | None]:
    """Make a token of a silo; return it, shown this once, and when it ends."""
    token, expires = new_token("mss_"), None if lifetime is None else now() + lifetime
    session.add(Token(hash=token_hash(token), silo_id=silo_id, scopes=["silo"], expires=expires))
    return token, expires


def rotate(
    session: Session, envelope: Envelope, actor: Actor, *, overlap: timedelta, lifetime: timedelta | None
) -> KeyRotationReceipt:
    """Let another key and token follow; the earlier ones count until the overlap is over.

    Raises ``bad-envelope`` where a valid key of the silo and the new key have not both signed, ``already-enrolled``
    where another silo has that key. Asking again after a lost answer gives another token and changes nothing else.
    """
    rotation = _signed_by_both(envelope, keys_now(session, actor.id), actor.id)
    silo, ends = session.get_one(Silo, actor.id), now() + overlap
    _shorten_tokens(session, silo.id, ends)
    if rotation.public_key != silo.public_key:
        _follow(session, silo, rotation.public_key, ends, actor)
    token, expires = new_silo_token(session, silo.id, lifetime)
    record(session, actor, "silo.token", silo.id, None, "issued")
    return KeyRotationReceipt(
        silo_id=silo.id,
        public_key=rotation.public_key,
        token=token,
        token_expires=expires,
        previous_until=ends,
    )


def require_proof(database: Database, silo_id: str, header: str | None, method: str, path: str, body: bytes) -> None:
    """Check that a signed request is fresh and comes for the first time, and remember its nonce.

    Raises ``proof-missing``, ``proof-invalid``, ``clock-skew``, ``request-replayed``.
    """
    with database.reading() as session:
        keys = keys_now(session, silo_id)
    proof = check_proof(header, method, path, body, keys, now())
    nonce = RequestNonce(silo_id=silo_id, nonce=proof.nonce, expires=proof.issued + 2 * WINDOW)
    try:
        with database.session() as session:
            session.add(nonce)
    except IntegrityError:
        raise WireError("request-replayed") from None


def forget_nonces(session: Session, at: datetime) -> None:
    """Forget the nonces of requests that would be refused for their time anyway."""
    session.execute(delete(RequestNonce).where(RequestNonce.expires < at))


def _signed_by_both(envelope: Envelope, keys: Sequence[str], silo_id: str) -> KeyRotation:
    try:
        rotation = next(filter(None, (_opened(envelope, key) for key in keys)), None)
        if rotation is None or rotation.silo_id != silo_id:
            raise WireError("bad-envelope")
        return open_envelope(envelope, KeyRotation, rotation.public_key)
    except BadEnvelope as error:
        raise WireError("bad-envelope") from error


def _opened(envelope: Envelope, key: str) -> KeyRotation | None:
    try:
        return open_envelope(envelope, KeyRotation, key)
    except BadEnvelope:
        return None


def _follow(session: Session, silo: Silo, public_key: str, ends: datetime, actor: Actor) -> None:
    if session.scalar(select(SiloKeyRow.id).where(SiloKeyRow.public_key == public_key)) is not None:
        raise MedSiloError("already-enrolled")
    for row in session.scalars(select(SiloKeyRow).where(SiloKeyRow.silo_id == silo.id, SiloKeyRow.until.is_(None))):
        row.until = ends
    before, silo.public_key = silo.public_key or "", public_key
    session.add(SiloKeyRow(silo_id=silo.id, public_key=public_key))
    record(session, actor, "silo.rotate", silo.id, key_id(before)[:16], key_id(public_key)[:16])


def _shorten_tokens(session: Session, silo_id: str, ends: datetime) -> None:
    for row in session.scalars(select(Token).where(Token.silo_id == silo_id, Token.revoked.is_(None))):
        row.expires = ends if row.expires is None else min(row.expires, ends)
