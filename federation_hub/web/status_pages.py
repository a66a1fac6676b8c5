"""Whether the hub works, how large the federation is, and what is under way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from flask import Blueprint
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.evaluations.rules import LEASED
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.migrations.runner import is_current
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.silos.tables import Silo
from federation_hub.studies.tables import Study
from federation_hub.web.rendering import page
from federation_hub.web.words import plural
from silo_node import __version__
from silo_node.web.formats import minute

blueprint = Blueprint("status_pages", __name__)
LATELY = timedelta(minutes=15)
"""A hospital that asked for work within this time is counted as connected."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the hub: what it is for and whether it works."""

    name: str
    works: bool
    told: str


@dataclass(frozen=True, slots=True)
class StatusPage:
    """Everything the status page shows. It tells of no hospital alone."""

    sentence: str
    works: bool
    parts: tuple[Part, ...]
    facts: tuple[tuple[str, str], ...]
    hub: tuple[tuple[str, str], ...]


@blueprint.get("/status")
def status() -> str:
    """Tell whether the hub works, how large the federation is, and what is under way."""
    with services().database.reading() as session:
        return page("status.html", status=_status(session))


def _status(session: Session) -> StatusPage:
    hub = services()
    parts = (
        Part("Database", True, "answers"),
        _part("Schema", is_current(session.connection()), "is this release's", "is another release's"),
        _part("Models and updates", hub.blobs.root.is_dir(), "can be read", "cannot be read"),
        Part("Studies", True, "run in this process" if hub.engine is not None else "run in another process"),
    )
    works = all(part.works for part in parts)
    return StatusPage(
        sentence="Everything works." if works else "Something does not work. Its operator can read why in the log.",
        works=works,
        parts=parts,
        facts=_facts(session),
        hub=(
            ("Release", f"MedSilo {__version__}"),
            ("Up since", minute(hub.started)),
            ("Signing key", hub.public_key),
            ("Mode", "development" if hub.config.development else "normal"),
        ),
    )


def _part(name: str, works: bool, yes: str, no: str) -> Part:
    return Part(name, works, yes if works else no)


def _facts(session: Session) -> tuple[tuple[str, str], ...]:
    silos = _states(session, Silo, ~Silo.checks)
    connected = session.scalar(
        select(func.count()).select_from(Silo).where(Silo.last_seen > now() - LATELY, ~Silo.checks)
    )
    tasks, studies = _states(session, Task), _states(session, Study)
    waiting = Task.held & Task.state.in_(LEASED)
    held = session.scalar(select(func.count()).select_from(Task).where(waiting))
    return (
        ("Hospitals", f"{silos.get('active', 0)} active, {connected or 0} connected in the last 15 minutes"),
        ("Benchmarks", plural(_states(session, Benchmark).get("published", 0), "open question")),
        ("Models", f"{_states(session, Model).get('accepted', 0)} accepted"),
        ("Evaluations", f"{_states(session, Evaluation).get('open', 0)} under way"),
        (
            "Tasks",
            f"{tasks.get('offered', 0)} waiting, {tasks.get('claimed', 0) + tasks.get('running', 0)} at work, "
            f"{held or 0} of them waiting for a person's release",
        ),
        ("Results", plural(_states(session, EstimateBlockRow).get("accepted", 0), "signed block")),
        ("Studies", f"{studies.get('running', 0)} running, {studies.get('completed', 0)} done"),
    )


def _states(session: Session, table: type, *conditions: object) -> Mapping[str, int]:
    state = table.state  # type: ignore[attr-defined]
    rows = session.execute(select(state, func.count()).where(*conditions).group_by(state))  # type: ignore[arg-type]
    return {str(name): int(count) for name, count in rows}
