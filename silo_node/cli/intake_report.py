"""What the intake commands share: the site's rules for an intake, running it, and telling what became of it."""

import re
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from silo_node.cli.progress import progress_bar
from silo_node.cli.session import Session, show
from silo_node.wire.errors import PROBLEMS

if TYPE_CHECKING:
    from silo_node.intake.objects.source import ObjectSource
    from silo_node.intake.run import IntakeReport, IntakeRules
    from silo_node.intake.source import Source
    from silo_node.intake.standing import StandingSource

_COLLECTION = re.compile(r"^[a-z][a-z0-9_-]{0,39}$")


def _collection(value: str) -> str:
    if not _COLLECTION.match(value):
        raise typer.BadParameter("lower-case letters, digits, _ and -, beginning with a letter")
    return value


Collection = Annotated[
    str, typer.Option(help="The name these cases are kept under, to build cohorts from.", callback=_collection)
]


def take_in_cases(session: Session, source: Callable[[], "Source"], collection: str, *, as_json: bool) -> None:
    """Take in a source of cases, and tell."""
    from silo_node.intake.run import take_in

    with progress_bar("Taking in", quiet=as_json) as progress:
        report = take_in(session.home, source(), intake_rules(session, collection), progress=progress)
    show(report_facts(report), as_json=as_json, text=report_text(report))


def take_in_delivered(
    session: Session, source: Callable[[], "ObjectSource"], collection: str, *, as_json: bool
) -> None:
    """Take in a source of DICOM objects, and tell."""
    from silo_node.intake.run import take_in_objects

    with progress_bar("Taking in", quiet=as_json) as progress:
        report = take_in_objects(session.home, source(), intake_rules(session, collection), progress=progress)
    show(report_facts(report), as_json=as_json, text=report_text(report))


def take_in_standing(session: Session, source: "StandingSource", collection: str, *, as_json: bool) -> None:
    """Take in from a source that goes on until SIGTERM or Ctrl-C, and tell at its end."""
    from silo_node.intake.run import IntakeReport
    from silo_node.intake.standing import stand

    whole, rules = IntakeReport(), intake_rules(session, collection)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: source.stop.set())
    quiet_seconds = session.config.intake.quiet_seconds
    received = stand(session.home, source, rules, quiet_seconds=quiet_seconds, on_report=whole.add)
    whole.add_received(received)
    show(report_facts(whole), as_json=as_json, text=report_text(whole))


def intake_rules(session: Session, collection: str) -> "IntakeRules":
    """Return what the policy and the settings say about an intake into a collection."""
    from silo_node.intake.run import IntakeRules
    from silo_node.policy import load_policy

    settings = session.config.intake
    return IntakeRules(
        collection,
        frozenset(load_policy(session.home).intake.allow_pixel_risks),
        quota_bytes=settings.quota_mb and settings.quota_mb * 2**20,
        external_decoder=settings.external_decoder,
    )


def report_facts(report: "IntakeReport") -> dict[str, object]:
    """Return what became of an intake, for ``--json``."""
    return {
        "objects": {"new": report.received.new, "known": report.received.known},
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "quarantined": dict(sorted(report.quarantined.items())),
    }


def report_text(report: "IntakeReport") -> str:
    """Return what became of an intake, for a person."""
    lines = []
    if report.received.new or report.received.known:
        lines.append(f"{report.received.new} DICOM objects received, {report.received.known} already there.")
    lines.append(f"{report.added} cases taken in, {report.updated} updated, {report.unchanged} already there.")
    if report.quarantined:
        lines.append(f"{report.quarantined.total()} refused; see silo-node intake quarantine:")
        lines += [f"  {count:6d}  {PROBLEMS[code].title} [{code}]" for code, count in report.quarantined.most_common()]
    return "\n".join(lines)
