"""Entering a model on a benchmark, and deciding who is told of it."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from benchmarks.statistics.rules import benchmark_rules
from federation_hub.accounts.actors import SYSTEM, Actor
from federation_hub.accounts.audit import record
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.entries.rules import VISIBILITY, Earlier, no_gain, phase_at, phase_refusal
from federation_hub.entries.scores import scores
from federation_hub.entries.tables import Entry
from federation_hub.stored import read_stored
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import MedSiloError, PolicyRefusal
from silo_node.wire.models import ModelSubmission


def judge(session: Session, benchmark: Benchmark, wish: ModelSubmission, organisation: str) -> None:
    """Raise with the code for which an organisation's model cannot be entered now; nothing is written."""
    at = now()
    if wish.embargo_until is not None and wish.embargo_until <= at:
        raise MedSiloError("embargo-past")
    definition = read_stored(BenchmarkDefinition, benchmark.definition)
    earlier = _earlier(session, benchmark, definition, organisation)
    refusal = phase_refusal(definition, wish.phase, earlier, at)
    if refusal is not None:
        raise PolicyRefusal(refusal)


def enter(session: Session, benchmark: Benchmark, wish: ModelSubmission, actor: Actor) -> Entry:
    """Enter a model; one that is entered already stays as it is, whatever the date: its answer may have been lost.

    Raises as :func:`judge` does.
    """
    found = entry_of(session, benchmark, wish.bundle.digest)
    if found is not None:
        return found
    if actor.organisation_id is None:
        raise MedSiloError("not-permitted")
    judge(session, benchmark, wish, actor.organisation_id)
    definition = read_stored(BenchmarkDefinition, benchmark.definition)
    phase = phase_at(definition.phases, wish.phase, now())
    entry = Entry(
        benchmark_id=benchmark.id,
        model_digest=wish.bundle.digest,
        organisation_id=actor.organisation_id,
        person_id=actor.id,
        attempt=max((one.attempt for one in _own(session, benchmark, actor.organisation_id)), default=0) + 1,
        phase=phase.name if phase else None,
        visibility="embargoed" if wish.embargo_until else wish.visibility,
        embargo_until=wish.embargo_until,
    )
    session.add(entry)
    session.flush()
    record(session, actor, "entry.enter", entry.id, None, entry.visibility)
    return entry


def forget(session: Session, digest: str, actor: Actor, benchmark: Benchmark | None = None) -> None:
    """Take back the entries of a model that turned out unsound, all or one benchmark's: they were no attempt."""
    rows = select(Entry).where(Entry.model_digest == digest)
    for entry in session.scalars(rows if benchmark is None else rows.where(Entry.benchmark_id == benchmark.id)):
        record(session, actor, "entry.forget", entry.id, entry.visibility, "forgotten")
        session.delete(entry)


def entry_of(session: Session, benchmark: Benchmark, digest: str) -> Entry | None:
    """Return a model's entry on a benchmark version, or None."""
    return session.scalar(select(Entry).where(Entry.benchmark_id == benchmark.id, Entry.model_digest == digest))


def entries_of(session: Session, benchmark: Benchmark) -> dict[str, Entry]:
    """Return every entry on a benchmark version by its model's digest."""
    rows = session.scalars(select(Entry).where(Entry.benchmark_id == benchmark.id).order_by(Entry.created, Entry.id))
    return {row.model_digest: row for row in rows}


def show(session: Session, entry: Entry, actor: Actor, *, until: datetime | None) -> None:
    """Make a private entry public, now or from a date on; raises ``entry-public`` for what is public already."""
    if until is not None and until <= now():
        raise MedSiloError("embargo-past")
    if entry.visibility == "public":
        raise MedSiloError("entry-public")
    if until is not None and entry.visibility == "embargoed":
        entry.embargo_until = until
        record(session, actor, "entry.embargo", entry.id, entry.visibility, entry.visibility)
        return
    entry.embargo_until = until
    _move(session, entry, "embargo" if until is not None else "publish", actor)


def lift_embargoes(session: Session, at: datetime) -> list[Benchmark]:
    """Make public whatever has an embargo that is over; return the benchmarks whose boards change."""
    over = select(Entry).where(Entry.visibility == "embargoed", Entry.embargo_until <= at)
    found = list(session.scalars(over))
    for entry in found:
        _move(session, entry, "publish", SYSTEM)
    wanted = {entry.benchmark_id for entry in found}
    return [session.get_one(Benchmark, benchmark_id) for benchmark_id in sorted(wanted)]


def kept_back(session: Session, benchmark: Benchmark) -> frozenset[str]:
    """Return the models the public is not told of: private ones, those under an embargo, those without gain."""
    entries = entries_of(session, benchmark)
    hidden = {digest for digest, entry in entries.items() if entry.visibility != "public"}
    return frozenset(hidden | set(silent_models(session, benchmark)))


def silent_models(session: Session, benchmark: Benchmark) -> Mapping[str, str]:
    """Return the models the Ladder mechanism tells nothing of, each with the better one of the same organisation."""
    definition = read_stored(BenchmarkDefinition, benchmark.definition)
    steps = {phase.name: phase.ladder for phase in definition.phases if phase.ladder is not None}
    attempts: dict[tuple[str, str], list[str]] = defaultdict(list)
    if steps:
        for digest, entry in entries_of(session, benchmark).items():
            if entry.phase in steps:
                attempts[entry.organisation_id, entry.phase].append(digest)
    found = scores(session, benchmark, [digest for digests in attempts.values() for digest in digests])
    upper = benchmark_rules(benchmark.definition, digest=benchmark.digest).primary.upper
    silent: dict[str, str] = {}
    for (_, phase), digests in attempts.items():
        step = (steps[phase] or 0.0) * upper
        silent |= no_gain([(digest, found.get(digest)) for digest in digests], step, definition.primary.direction)
    return silent


def hidden_models(session: Session) -> frozenset[str]:
    """Return the models nobody but their owner may hear of: those that were entered somewhere and nowhere publicly."""
    return frozenset(session.scalars(hidden_digests()))


def hidden_digests() -> Select[str]:
    """Select the digests of :func:`hidden_models`."""
    public = select(Entry.model_digest).where(Entry.visibility == "public")
    return select(Entry.model_digest).where(Entry.model_digest.not_in(public))


def private_places() -> Select[str]:
    """Select the ids of the associations whose entries the public is not told of."""
    same = (Entry.benchmark_id == Association.benchmark_id) & (Entry.model_digest == Association.model_digest)
    return select(Association.id).join(Entry, same).where(Entry.visibility != "public")


def _own(session: Session, benchmark: Benchmark, organisation: str) -> list[Entry]:
    rows = select(Entry).where(Entry.benchmark_id == benchmark.id, Entry.organisation_id == organisation)
    return list(session.scalars(rows.order_by(Entry.created, Entry.id)))


def _earlier(
    session: Session, benchmark: Benchmark, definition: BenchmarkDefinition, organisation: str
) -> list[Earlier]:
    counted = _own(session, benchmark, organisation)
    passed = _passed(session, benchmark, counted) if any(phase.parent for phase in definition.phases) else frozenset()
    return [Earlier(entry.phase, entry.created, entry.model_digest in passed) for entry in counted]


def _passed(session: Session, benchmark: Benchmark, entries: list[Entry]) -> frozenset[str]:
    primary = benchmark_rules(benchmark.definition, digest=benchmark.digest).primary
    found = scores(session, benchmark, [entry.model_digest for entry in entries])
    return frozenset(digest for digest, score in found.items() if not primary.misses_floor(score))


def _move(session: Session, entry: Entry, event: str, actor: Actor) -> None:
    before, entry.visibility = entry.visibility, VISIBILITY.after(entry.visibility, event)
    record(session, actor, f"entry.{event}", entry.id, before, entry.visibility)
