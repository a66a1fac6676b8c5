"""``silo-node answer``: a model's answer for the PACS viewer."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from silo_node.cli.session import Json, Session, session_of, show
from silo_node.wire.errors import BadInput

if TYPE_CHECKING:
    from silo_node.answers.objects import Answer
    from silo_node.series.geometry import Grid

app = typer.Typer(
    no_args_is_help=True, help="Write a model's answer as DICOM, for this site's PACS. Nothing goes to the hub."
)


Series = Annotated[str, typer.Option(help="Series Instance UID of the series in the private store.")]
Out = Annotated[Path, typer.Option(help="The folder both objects are written to.")]
Collection = Annotated[str, typer.Option(help="The collection the series was taken in under.")]
Push = Annotated[bool, typer.Option("--push", help="Send both to the PACS of intake.pacs by C-STORE.")]


class Place(NamedTuple):
    """Which series is answered, and where the answer goes."""

    series: str
    collection: str
    out: Path
    push: bool


@app.command("segmentation")
def segmentation(
    context: typer.Context,
    label_map: Annotated[Path, typer.Argument(help="A NIfTI label map on the voxels of the series.")],
    series: Series,
    structure: Annotated[
        list[str], typer.Option(help="Name of label 1, then of label 2, and so on; repeat the option.")
    ],
    out: Out,
    model: Annotated[str, typer.Option(help="The model's name, shown to the reader.")] = "model",
    collection: Collection = "default",
    push: Push = False,
    as_json: Json = False,
) -> None:
    """Write a label map as a DICOM segmentation, with the volumes of its structures as a structured report.

    Both name the patient, as everything in a PACS does; they are marked as not for diagnosis.

    Example: silo-node answer segmentation mask.nii.gz --series 1.2.3 --structure liver --out /data/answers --push
    """
    from silo_node.answers.run import drawn_answer

    _give(
        session_of(context),
        drawn_answer(label_map, structure, model),
        Place(series, collection, out, push),
        as_json=as_json,
    )


@app.command("predict")
def predict(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="The model: a code-free bundle, as a zip archive.")],
    benchmark: Annotated[str, typer.Option(help="The segmentation benchmark whose question the model answers.")],
    series: Series,
    out: Out,
    definition: Annotated[
        Path | None, typer.Option(help="Read the definition from a TOML or JSON file instead of asking the hub.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="The benchmark's version; the latest where absent.")] = None,
    collection: Collection = "default",
    push: Push = False,
    as_json: Json = False,
) -> None:
    """Ask a model about a series, in the sandbox, and write its answer as a DICOM segmentation with a report.

    Both name the patient, as everything in a PACS does; they are marked as not for diagnosis.

    Example: silo-node answer predict model.zip --benchmark hippocampus_dicom --series 1.2.3 --out /data/answers
    """
    from silo_node.answers.predict import Asked, predict_series
    from silo_node.cli.cohort import question_of
    from silo_node.sandbox import choose

    session = session_of(context)
    if not bundle.is_file():
        raise BadInput("file-missing", str(bundle))
    asked = Asked(bundle, question_of(session, definition, benchmark, version), bundle.stem)
    sandbox = choose(development_no_sandbox=session.config.development_no_sandbox)
    answer = predict_series(session.home.create(), session.config, sandbox, series, asked)
    _give(session, lambda grid: answer, Place(series, collection, out, push), as_json=as_json)


def _give(session: Session, answered: "Callable[[Grid], Answer]", place: Place, *, as_json: bool) -> None:
    """Make the objects of an answer, write them, and send them where that was asked for."""
    from silo_node.answers.run import answer_series
    from silo_node.answers.run import push as send
    from silo_node.intake.pacs.association import Pacs

    intake = session.config.intake
    pacs = Pacs(intake.pacs, intake.listener.called_ae_titles[0]) if place.push else None
    objects = answer_series(session.home.create(), place.series, collection=place.collection, answered=answered)
    paths = [str(path) for path in objects.write(place.out)]
    if pacs is not None:
        send(objects, pacs)
    text = "\n".join([*paths, *([f"Sent to {pacs.root}."] if pacs else [])])
    show({"files": paths, "sent_to": pacs.root if pacs else None}, as_json=as_json, text=text)
