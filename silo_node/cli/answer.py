"""``silo-node answer``: a model's answer for the PACS viewer."""

from pathlib import Path
from typing import Annotated

import typer

from silo_node.cli.session import Json, session_of, show

app = typer.Typer(
    no_args_is_help=True, help="Write a model's answer as DICOM, for this site's PACS. Nothing goes to the hub."
)


@app.command("segmentation")
def segmentation(
    context: typer.Context,
    label_map: Annotated[Path, typer.Argument(help="A NIfTI label map on the voxels of the series.")],
    series: Annotated[str, typer.Option(help="Series Instance UID of the series in the private store.")],
    structure: Annotated[
        list[str], typer.Option(help="Name of label 1, then of label 2, and so on; repeat the option.")
    ],
    out: Annotated[Path, typer.Option(help="The folder both objects are written to.")],
    model: Annotated[str, typer.Option(help="The model's name, shown to the reader.")] = "model",
    collection: Annotated[str, typer.Option(help="The collection the series was taken in under.")] = "default",
    push: Annotated[bool, typer.Option("--push", help="Send both to the PACS of intake.pacs by C-STORE.")] = False,
    as_json: Json = False,
) -> None:
    """Write a label map as a DICOM segmentation, with the volumes of its structures as a structured report.

    Both name the patient, as everything in a PACS does; they are marked as not for diagnosis.

    Example: silo-node answer segmentation mask.nii.gz --series 1.2.3 --structure liver --out /data/answers --push
    """
    from silo_node.answers.run import answer_series
    from silo_node.answers.run import push as send
    from silo_node.intake.pacs.association import Pacs

    session = session_of(context)
    intake = session.config.intake
    pacs = Pacs(intake.pacs, intake.listener.called_ae_titles[0]) if push else None
    objects = answer_series(
        session.home.create(), series, label_map, collection=collection, structures=structure, model=model
    )
    paths = [str(path) for path in objects.write(out)]
    if pacs is not None:
        send(objects, pacs)
    text = "\n".join([*paths, *([f"Sent to {pacs.root}."] if pacs else [])])
    show({"files": paths, "sent_to": pacs.root if pacs else None}, as_json=as_json, text=text)
