"""``silo-node intake``: take in images, and see what was refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from silo_node.cli import intake_pacs
from silo_node.cli.intake_report import Collection, intake_rules, take_in_cases, take_in_delivered, take_in_standing
from silo_node.cli.progress import progress_bar
from silo_node.cli.session import Json, session_of, show, table
from silo_node.wire.errors import PROBLEMS

if TYPE_CHECKING:
    from silo_node.intake.objects.source import ObjectSource
    from silo_node.intake.source import Source

intake_app = typer.Typer(no_args_is_help=True, help="Take in images, de-identified, into the private store.")
intake_app.command("listen")(intake_pacs.listen)
intake_app.command("pacs")(intake_pacs.pacs)
intake_app.command("dicomweb")(intake_pacs.dicomweb)
intake_app.command("studies")(intake_pacs.studies)


def _modality(value: str | None) -> str | None:
    from silo_node.deidentify.attributes import normal_modality

    if value is not None and normal_modality(value) is None:
        raise typer.BadParameter("a DICOM modality for images, such as DX, CT or MR")
    return value


Folder = Annotated[Path, typer.Argument(help="The folder with the images.")]


@intake_app.command("folder")
def folder(
    context: typer.Context,
    folder: Folder,
    labels: Annotated[
        Path | None,
        typer.Option("--table", help="Table with columns path and label; a path may be a study's or series' folder."),
    ] = None,
    collection: Collection = "default",
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on until stopped, and take in each study once it is quiet."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Take in all DICOM files below a folder, or in a zip archive. Run again, it goes on where it stopped.

    Example: silo-node intake folder /data/chest --table /data/chest/labels.csv
    """
    if watch:
        if labels is not None:
            raise typer.BadParameter("a folder is watched without a table", param_hint="--table")
        from silo_node.intake.folder_watch import FolderWatch

        take_in_standing(session_of(context), FolderWatch(folder), collection, as_json=as_json)
        return

    def source() -> "ObjectSource":
        from silo_node.intake.dicom_folder import DicomFolder

        return DicomFolder(folder, labels)

    take_in_delivered(session_of(context), source, collection, as_json=as_json)


@intake_app.command("table")
def rows(
    context: typer.Context,
    folder: Folder,
    labels: Annotated[
        Path,
        typer.Option(
            "--table",
            help="CSV or Parquet with columns path, patient, and label or label_path; optionally split, sex...",
        ),
    ],
    collection: Collection = "default",
    modality: Annotated[
        str | None, typer.Option(help="DICOM modality of images whose row tells none.", callback=_modality)
    ] = None,
    as_json: Json = False,
) -> None:
    """Take in the NIfTI volumes, PNG and NPZ images a table names. Run again, it goes on where it stopped.

    Example: silo-node intake table /data/hippocampus --table /data/hippocampus/cases.csv --modality MR
    """

    def source() -> "Source":
        from silo_node.intake.table_source import TableSource

        return TableSource(labels, folder, collection=collection, modality=modality)

    take_in_cases(session_of(context), source, collection, as_json=as_json)


@intake_app.command("dataset")
def dataset(
    context: typer.Context,
    folder: Folder,
    collection: Collection = "default",
    modality: Annotated[
        str | None,
        typer.Option(help="DICOM modality of the images, where nothing tells.", callback=_modality),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take in a published data set: a folder with the Decathlon's dataset.json, or a BIDS tree of NIfTI volumes.

    Example: silo-node intake dataset /data/Task04_Hippocampus
    """

    def source() -> "Source":
        from silo_node.intake.datasets import read_dataset
        from silo_node.intake.table_source import TableSource

        rows, told = read_dataset(folder)
        return TableSource(rows, folder, collection=collection, modality=modality or told)

    take_in_cases(session_of(context), source, collection, as_json=as_json)


@intake_app.command("quarantine")
def quarantine(
    context: typer.Context,
    retry: Annotated[
        bool, typer.Option("--retry", help="First try again what is in the private store, in every collection.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what was refused, and why. Files of a folder are tried again whenever their folder is taken in.

    Example: silo-node intake quarantine --retry
    """
    from silo_node.catalogue import Catalogue
    from silo_node.intake.places import Places
    from silo_node.intake.run import retry as try_again

    session = session_of(context)
    if retry:
        with progress_bar("Trying again", quiet=as_json) as progress:
            try_again(session.home, intake_rules(session, "default"), progress=progress)
    home = session.home.create()
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
