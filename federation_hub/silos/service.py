"""A silo's life: invited with a one-time code, enrolled with its own key, approved by comparing fingerprints."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from blake3 import blake3
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.service import organisation_named, revoke_tokens
from federation_hub.db import now
from federation_hub.silos.keys import first_key, new_silo_token
from federation_hub.silos.tables import EnrolmentCode, Silo, SiloKeyRow
from federation_hub.states import Machine
from silo_node.wire.enrolment import EnrolmentRequest
from silo_node.wire.envelope import key_fingerprint
from silo_node.wire.errors import MedSiloError, WireError
from silo_node.wire.versions import negotiate

SILO = Machine(
    "silo",
    {
        "invite": {"invited": "invited", "pending": "invited"},
        "enrol": {"invited": "pending"},
        "approve": {"pending": "active"},
        "suspend": {"active": "suspended"},
        "reinstate": {"suspended": "active"},
        "revoke": {"invited": "revoked", "pending": "revoked", "active": "revoked", "suspended": "revoked"},
    },
)
_CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Invitation:
    """A silo's place and the code that fills it, shown this once."""

    silo_id: str
    code: str
    expires: datetime


def judge_code(expires: datetime | None, used: datetime | None, at: datetime) -> str | None:
    """Return why an enrolment code is refused, or None. ``expires`` is None where there is no such code."""
    if expires is None:
        return "enrolment-code-invalid"
    if used is not None:
        return "enrolment-code-used"
    return "enrolment-code-expired" if expires <= at else None


def same_fingerprint(public_key: str, claimed: str) -> bool:
    """Compare a silo's fingerprint with what a person typed, whatever its spaces and case, in constant time."""
    typed = "".join(claimed.split()).lower().replace("-", "").replace(":", "")
    return secrets.compare_digest(key_fingerprint(public_key).replace(" ", "").encode(), typed.encode())


def invite(session: Session, *, name: str, organisation: str, lifetime: timedelta, actor: Actor) -> Invitation:
    """Make a place for a silo and its one-time code; a silo that has not been approved yet gets a new code.

    Raises ``already-exists`` for a name in use, ``state-conflict`` for one that is past its approval.
    """
    home = organisation_named(session, organisation)
    silo = session.scalar(select(Silo).where(Silo.name == name))
    if silo is None:
        silo = Silo(name=name, organisation_id=home.id, state="invited")
        session.add(silo)
        session.flush()
        record(session, actor, "silo.invite", silo.id, None, "invited")
    elif silo.organisation_id != home.id or not SILO.allows(silo.state, "invite"):
        raise MedSiloError("already-exists")
    else:
        move(session, silo, "invite", actor)
        revoke_tokens(session, silo_id=silo.id, actor=actor)
    return _new_code(session, silo, lifetime)


def enrol(session: Session, request: EnrolmentRequest, lifetime: timedelta | None = None) -> tuple[Silo, str]:
    """Take a silo's key in exchange for its code; return the silo and its token, shown this once, good for a lifetime.

    Raises ``enrolment-code-invalid``, ``-expired`` or ``-used``, ``wire-version-unsupported``, ``already-enrolled``
    where another silo has that key.
    """
    version = negotiate(request.wire_versions)
    if version is None:
        raise WireError("wire-version-unsupported")
    code = session.get(EnrolmentCode, _code_hash(request.code))
    refusal = judge_code(code.expires if code else None, code.used if code else None, now())
    if code is None or refusal is not None:
        raise MedSiloError(refusal or "enrolment-code-invalid")
    others = select(SiloKeyRow.id).where(SiloKeyRow.silo_id != code.silo_id)
    if session.scalar(others.where(SiloKeyRow.public_key == request.public_key)) is not None:
        raise MedSiloError("already-enrolled")
    silo = session.get_one(Silo, code.silo_id)
    move(session, silo, "enrol", Actor("silo", silo.id))
    code.used = silo.enrolled = now()
    silo.software_version, silo.wire_version = request.software_version, version
    first_key(session, silo, request.public_key)
    return silo, new_silo_token(session, silo.id, lifetime)[0]


def approve(session: Session, silo_id: str, *, fingerprint: str, actor: Actor) -> Silo:
    """Let a pending silo in, after a person compared fingerprints; raises ``fingerprint-mismatch``."""
    silo = silo_of_id(session, silo_id)
    SILO.after(silo.state, "approve")
    if silo.public_key is None or not same_fingerprint(silo.public_key, fingerprint):
        raise MedSiloError("fingerprint-mismatch")
    move(session, silo, "approve", actor)
    return silo


def change(session: Session, silo_id: str, event: str, actor: Actor) -> Silo:
    """Suspend, reinstate or revoke a silo. A revoked silo's tokens end at once."""
    silo = silo_of_id(session, silo_id)
    move(session, silo, event, actor)
    if silo.state == "revoked":
        revoke_tokens(session, silo_id=silo.id, actor=actor)
    return silo


def set_checks(session: Session, silo_id: str, checks: bool, *, actor: Actor) -> Silo:
    """Say whether a silo checks submitted models; its cohorts then count on no leaderboard."""
    silo = silo_of_id(session, silo_id)
    before, silo.checks = silo.checks, checks
    record(session, actor, "silo.checks", silo.id, str(before).lower(), str(checks).lower())
    return silo


def silo_of_id(session: Session, silo_id: str) -> Silo:
    """Return a silo; raises ``not-found``."""
    silo = session.get(Silo, silo_id)
    if silo is None:
        raise MedSiloError("not-found")
    return silo


def move(session: Session, silo: Silo, event: str, actor: Actor) -> None:
    """Take a silo through one transition and write it to the audit trail; raises ``state-conflict``."""
    before, silo.state = silo.state, SILO.after(silo.state, event)
    record(session, actor, f"silo.{event}", silo.id, before, silo.state)


def _new_code(session: Session, silo: Silo, lifetime: timedelta) -> Invitation:
    at = now()
    unused = EnrolmentCode.used.is_(None)
    session.execute(update(EnrolmentCode).where(EnrolmentCode.silo_id == silo.id, unused).values(expires=at))
    code = "-".join("".join(secrets.choice(_CODE_ALPHABET) for _ in range(4)) for _ in range(4))
    session.add(EnrolmentCode(hash=_code_hash(code), silo_id=silo.id, expires=at + lifetime))
    return Invitation(silo_id=silo.id, code=code, expires=at + lifetime)


def _code_hash(code: str) -> str:
    return blake3(code.encode()).hexdigest()
