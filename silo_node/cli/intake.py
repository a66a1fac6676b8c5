"""``silo-node intake``: take in images, and see what was refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from silo_node.cli.progress import progress_bar
from silo_node.cli.session import Json, Session, session_of, show, table
from silo_node.wire.errors import PROBLEMS

if TYPE_CHECKING:
    from silo_node.intake.objects.source import ObjectSource
    from silo_node.intake.run import IntakeReport, IntakeRules
    from silo_node.intake.source import Source

intake_app = typer.Typer(no_args_is_help=True, help="Take in images, de-identified, into the private store.")

_COLLECTION = re.compile(r"^[a-z][a-z0-9_-]{0,39}$")


def _collection(value: str) -> str:
    if not _COLLECTION.match(value):
        raise typer.BadParameter("lower-case letters, digits, _ and -, beginning with a letter")
    return value


def _modality(value: str | None) -> str | None:
    from silo_node.deidentify.attributes import normal_modality

    if value is not None and normal_modality(value) is None:
        raise typer.BadParameter("a DICOM modality for images, such as DX, CT or MR")
    return value


Folder = Annotated[Path, typer.Argument(help="The folder with the images.")]
Collection = Annotated[
    str, typer.Option(help="The name these cases are kept under, to build cohorts from.", callback=_collection)
]


@intake_app.command("folder")
def folder(
    context: typer.Context,
    folder: Folder,
    labels: Annotated[
        Path | None,
        typer.Option("--table", help="CSV with columns path and label; a path may be a study's or series' folder."),
    ] = None,
    collection: Collection = "default",
    as_json: Json = False,
) -> None:
    """Take in all DICOM files below a folder. Run again, it goes on where it stopped.

    Example: silo-node intake folder /data/chest --table /data/chest/labels.csv
    """

    def source() -> "ObjectSource":
        from silo_node.intake.dicom_folder import DicomFolder

        return DicomFolder(folder, labels)

    _take_in_objects(session_of(context), source, collection, as_json=as_json)


@intake_app.command("table")
def rows(
    context: typer.Context,
    folder: Folder,
    labels: Annotated[
        Path,
        typer.Option(
            "--table", help="CSV with columns path, patient, and label or label_path; optionally split, sex..."
        ),
    ],
    collection: Collection = "default",
    modality: Annotated[
        str | None, typer.Option(help="DICOM modality of images whose row tells none.", callback=_modality)
    ] = None,
    as_json: Json = False,
) -> None:
    """Take in the NIfTI volumes and NPZ images a table names. Run again, it goes on where it stopped.

    Example: silo-node intake table /data/hippocampus --table /data/hippocampus/cases.csv --modality MR
    """

    def source() -> "Source":
        from silo_node.intake.table_source import TableSource

        return TableSource(labels, folder, collection=collection, modality=modality)

    _take_in(session_of(context), source, collection, as_json=as_json)


@intake_app.command("quarantine")
def quarantine(context: typer.Context, as_json: Json = False) -> None:
    """List the files that were refused, and why. They are tried again whenever their folder is taken in.

    Example: silo-node intake quarantine
    """
    from silo_node.catalogue import Catalogue
    from silo_node.intake.places import Places

    home = session_of(context).home.create()
    with Catalogue(home.catalogue) as catalogue:
        refused = catalogue.quarantine()
    places = Places(home)
    paths = places.paths(row.locator for row in refused)
    places.close()
    facts = [
        {"path": paths.get(row.locator), "code": row.code, "reasons": list(row.reasons), "at": row.at}
        for row in refused
    ]
    lines = [(row["path"], row["code"], ", ".join(row["reasons"] or []), row["at"]) for row in facts]
    hints = [f"{code}: {PROBLEMS[code].title}. {PROBLEMS[code].hint}" for code in sorted({row.code for row in refused})]
    text = "\n".join([table(("file", "code", "reasons", "since"), lines), "", *hints]) if facts else "Nothing is there."
    show(facts, as_json=as_json, text=text)


def _take_in(session: Session, source: Callable[[], "Source"], collection: str, *, as_json: bool) -> None:
    from silo_node.intake.run import take_in

    with progress_bar("Taking in", quiet=as_json) as progress:
        report = take_in(session.home, source(), _rules(session, collection), progress=progress)
    show(_facts(report), as_json=as_json, text=_text(report))


def _take_in_objects(session: Session, source: Callable[[], "ObjectSource"], collection: str, *, as_json: bool) -> None:
    from silo_node.intake.run import take_in_objects

    with progress_bar("Taking in", quiet=as_json) as progress:
        report = take_in_objects(session.home, source(), _rules(session, collection), progress=progress)
    show(_facts(report), as_json=as_json, text=_text(report))


def _rules(session: Session, collection: str) -> "IntakeRules":
    from silo_node.intake.run import IntakeRules
    from silo_node.policy import load_policy

    return IntakeRules(collection, frozenset(load_policy(session.home).intake.allow_pixel_risks))


def _facts(report: "IntakeReport") -> dict[str, object]:
    return {
        "objects": {"new": report.received.new, "known": report.received.known},
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "quarantined": dict(sorted(report.quarantined.items())),
    }


def _text(report: "IntakeReport") -> str:
    lines = []
    if report.received.new or report.received.known:
        lines.append(f"{report.received.new} DICOM objects received, {report.received.known} already there.")
    lines.append(f"{report.added} cases taken in, {report.updated} updated, {report.unchanged} already there.")
    if report.quarantined:
        lines.append(f"{report.quarantined.total()} refused; see silo-node intake quarantine:")
        lines += [f"  {count:6d}  {PROBLEMS[code].title} [{code}]" for code, count in report.quarantined.most_common()]
    return "\n".join(lines)
