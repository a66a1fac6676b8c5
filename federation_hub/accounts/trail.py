"""Reading the audit trail: who did what and when, filtered, the newest first, and to everybody only what is theirs."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from pydantic import Field
from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.messages import AuditView
from federation_hub.accounts.tables import AuditEntry, Person
from federation_hub.paging import Page, PageQuery, page
from federation_hub.silos.tables import Silo

READERS = frozenset({"hub-admin", "data-steward"})
COLUMNS = ("number", "at", "actor_kind", "actor_id", "actor", "action", "subject", "before", "after", "reason")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_Part = Annotated[str, Field(max_length=100)]


class TrailQuery(PageQuery):
    """Which lines."""

    actor: _Part = ""
    """Id of the person or silo that acted."""

    action: _Part = ""
    """How the action's name begins: ``silo.`` or ``silo.approve``."""

    subject: _Part = ""
    """Id of what was changed."""

    since: date | None = None
    until: date | None = None
    """The last day that counts."""


def read(session: Session, reader: Actor, query: TrailQuery) -> Page[AuditEntry]:
    """Return a page of the lines a reader may see: the hub's admin all, a data steward those of the organisation."""
    return page(session, _lines(reader, query), query, AuditEntry.id, newest_first=True)


def every(session: Session, reader: Actor, query: TrailQuery) -> Iterable[AuditEntry]:
    """Yield all lines a filter leaves, a thousand at a time."""
    found = _lines(reader, query).order_by(AuditEntry.id.desc())
    return session.scalars(found.execution_options(yield_per=1000))


def views(session: Session, rows: Sequence[AuditEntry]) -> tuple[AuditView, ...]:
    """Return lines with the names of who acted."""
    ids = {row.actor_id for row in rows}
    names: dict[str, str] = {}
    for table in (Person, Silo):
        names |= dict(session.execute(select(table.id, table.name).where(table.id.in_(ids))).all())
    return tuple(
        AuditView(
            number=row.id,
            at=row.at,
            actor_kind=row.actor_kind,
            actor_id=row.actor_id,
            actor=names.get(row.actor_id),
            action=row.action,
            subject=row.subject,
            before=row.before,
            after=row.after,
            reason=row.reason,
        )
        for row in rows
    )


def as_csv(lines: Iterable[AuditView]) -> str:
    """Return lines as CSV with a header; a cell that a spreadsheet would take for a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow(_cell(value) for value in line.model_dump(mode="json").values())
    return text.getvalue()


def _lines(reader: Actor, query: TrailQuery) -> Select[tuple[AuditEntry]]:
    found = select(AuditEntry)
    if "hub-admin" not in reader.roles:
        home = reader.organisation_id
        ours = [select(table.id).where(table.organisation_id == home) for table in (Person, Silo)]
        sides = (AuditEntry.actor_id, AuditEntry.subject)
        found = found.where(or_(*(side.in_(ids) for side in sides for ids in ours)))
    if query.actor:
        found = found.where(AuditEntry.actor_id == query.actor)
    if query.action:
        found = found.where(AuditEntry.action.startswith(query.action, autoescape=True))
    if query.subject:
        found = found.where(AuditEntry.subject == query.subject)
    if query.since:
        found = found.where(AuditEntry.at >= _midnight(query.since))
    if query.until and query.until < date.max:
        found = found.where(AuditEntry.at < _midnight(query.until + timedelta(days=1)))
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
