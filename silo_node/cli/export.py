"""``silo-node export``: de-identified files for the site's own use."""

from pathlib import Path
from typing import Annotated

import typer

from silo_node.cli.progress import progress_bar
from silo_node.cli.session import Json, session_of, show

app = typer.Typer(
    no_args_is_help=True, help="Write de-identified files to a folder of this site. Nothing goes to the hub."
)


@app.command("dicom")
def dicom(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="An empty or new folder.")],
    project: Annotated[
        str, typer.Option(help="Names whose pseudonyms are used: those of two projects cannot be joined.")
    ],
    collection: Annotated[str, typer.Option(help="The collection whose objects are written.")] = "default",
    as_json: Json = False,
) -> None:
    """Write the images of a collection as de-identified DICOM files, with a report beside them.

    UIDs, ids and dates are the project's own; pixels are uncompressed. What the policy refuses at intake is refused
    here as well, and so is an object in whose bytes a text of its source is found.

    Example: silo-node export dicom /data/out --project heart-study --collection ct-2025
    """
    from silo_node.export.run import export_objects
    from silo_node.policy import load_policy

    session = session_of(context)
    allowed = frozenset(load_policy(session.home).intake.allow_pixel_risks)
    with progress_bar("Exporting", quiet=as_json) as progress:
        done = export_objects(
            session.home.create(), out, project=project, collection=collection, allowed_risks=allowed, progress=progress
        )
    refused = dict(sorted(done.refused.items()))
    facts = {"written": done.written, "patients": len(done.patients), "refused": refused, "folder": str(out)}
    lines = [f"{done.written} objects of {len(done.patients)} patients written to {out}."]
    lines += [f"  {count:6d}  refused: {code}" for code, count in refused.items()]
    show(facts, as_json=as_json, text="\n".join(lines))
