"""The audit trail: every transition is written in the transaction that makes it, or neither happens."""

from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.tables import AuditEntry


def record(
    session: Session, actor: Actor, action: str, subject: str, before: str | None, after: str, reason: str | None = None
) -> None:
    """Write that ``actor`` took ``subject`` from state ``before`` to ``after``; ``reason`` is a code, never text."""
    session.add(
        AuditEntry(
            actor_kind=actor.kind,
            actor_id=actor.id,
            action=action,
            subject=subject,
            before=before,
            after=after,
            reason=reason,
        )
    )
