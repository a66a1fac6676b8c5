"""``silo-node intake listen|pacs|dicomweb|studies``: images from a PACS."""

from typing import TYPE_CHECKING, Annotated

import typer

from silo_node.cli.intake_report import Collection, take_in_delivered, take_in_standing
from silo_node.cli.session import Json, Session, session_of, show, table

if TYPE_CHECKING:
    from silo_node.config import ListenerSettings
    from silo_node.intake.objects.source import ObjectSource


StudyUid = Annotated[str | None, typer.Option("--study", help="Only the study with this Study Instance UID.")]
Patient = Annotated[str | None, typer.Option(help="Only studies of this Patient ID; * and ? stand for anything.")]
Accession = Annotated[str | None, typer.Option(help="Only the study with this accession number.")]
Modality = Annotated[str | None, typer.Option(help="Only studies with this modality, such as CT.")]
Description = Annotated[str | None, typer.Option(help="Only studies so described; * and ? stand for anything.")]
Since = Annotated[str | None, typer.Option(help="Only studies of this date, YYYYMMDD, or later.")]
Until = Annotated[str | None, typer.Option(help="Only studies of this date, YYYYMMDD, or earlier.")]


def listen(
    context: typer.Context,
    collection: Collection = "default",
    address: Annotated[str | None, typer.Option(help="Listen here instead of intake.listener.address.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen here instead of intake.listener.port.")] = None,
    as_json: Json = False,
) -> None:
    """Take in what a PACS or a device sends (C-STORE), until stopped. The settings are intake.listener's.

    A study is taken in once nothing came of it for intake.quiet_seconds.

    Example: silo-node intake listen --collection chest
    """
    from silo_node.intake.pacs.listener import Listener

    session = session_of(context)
    listener = Listener(_listener(session, address, port), on_listening=_tell_port)
    take_in_standing(session, listener, collection, as_json=as_json)


def pacs(
    context: typer.Context,
    study: StudyUid = None,
    patient: Patient = None,
    accession: Accession = None,
    modality: Modality = None,
    description: Description = None,
    since: Since = None,
    until: Until = None,
    collection: Collection = "default",
    as_json: Json = False,
) -> None:
    """Have a PACS send the studies that match (C-FIND, C-MOVE). The settings are intake.pacs's and intake.listener's.

    The PACS must know this node's AE title, address and port. Run again, it goes on where it stopped.

    Example: silo-node intake pacs --modality CT --since 20240101 --until 20240331
    """
    from silo_node.intake.pacs.query import StudyQuery
    from silo_node.intake.pacs.retrieve import PacsSource

    session = session_of(context)
    settings = session.config.intake

    def source() -> "ObjectSource":
        query = StudyQuery(study, patient, accession, modality, description, since, until)
        return PacsSource(settings.pacs, settings.listener, query)

    take_in_delivered(session, source, collection, as_json=as_json)


def dicomweb(
    context: typer.Context,
    study: StudyUid = None,
    patient: Patient = None,
    accession: Accession = None,
    modality: Modality = None,
    description: Description = None,
    since: Since = None,
    until: Until = None,
    collection: Collection = "default",
    as_json: Json = False,
) -> None:
    """Fetch the studies that match from a DICOMweb service (QIDO-RS, WADO-RS). The settings are intake.dicomweb's.

    Run again, it goes on where it stopped.

    Example: silo-node intake dicomweb --modality MR --description "*brain*"
    """
    from silo_node.intake.pacs.dicomweb import DicomWebSource
    from silo_node.intake.pacs.http import DicomWebConnection
    from silo_node.intake.pacs.query import StudyQuery

    session = session_of(context)
    settings = session.config.intake.dicomweb

    def source() -> "ObjectSource":
        query = StudyQuery(study, patient, accession, modality, description, since, until)
        return DicomWebSource(DicomWebConnection(settings), query, page=settings.page)

    take_in_delivered(session, source, collection, as_json=as_json)


def studies(
    context: typer.Context,
    collection: Annotated[str | None, typer.Option(help="Only studies of this collection.")] = None,
    modality: Modality = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(help="The most studies to show.", min=1, max=100_000)] = 50,
    as_json: Json = False,
) -> None:
    """List the studies in the private store, oldest first. It shows the source's own numbers: keep it in the hospital.

    Example: silo-node intake studies --modality CT --since 20240101
    """
    from silo_node.intake.objects.index import ObjectIndex, StudyFilter

    chosen = StudyFilter(collection=collection, modality=modality, since=since, until=until)
    with ObjectIndex(session_of(context).home.create()) as index:
        rows, (count, objects, size) = index.studies(chosen, limit=limit), index.count(chosen)
    facts = [
        {
            "study": row.study,
            "collection": row.collection,
            "patient": row.patient,
            "date": row.study_date,
            "modality": row.modality,
            "objects": row.objects,
            "state": "settled" if row.settled else "arriving",
        }
        for row in rows
    ]
    lines = [list(fact.values()) for fact in facts]
    text = table(list(facts[0]), lines) if facts else "Nothing is there."
    text += f"\n\n{count} studies, {objects} objects, {size / 2**20:.1f} MB."
    show({"studies": facts, "count": count, "objects": objects, "bytes": size}, as_json=as_json, text=text)


def _listener(session: Session, address: str | None, port: int | None) -> "ListenerSettings":
    settings = session.config.intake.listener
    changes = {"address": address or settings.address, "port": settings.port if port is None else port}
    return settings.model_copy(update=changes)


def _tell_port(port: int) -> None:
    typer.echo(f"Listening on port {port}.", err=True)
