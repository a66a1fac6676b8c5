"""``medsilo model dp-ready``: whether a model can be trained with differential privacy."""

from pathlib import Path
from typing import Annotated

import typer

from federation_hub.client import models
from federation_hub.client.cli.model import BundlePath
from federation_hub.client.cli.session import AsJson
from federation_hub.client.terminal import output, print_json
from silo_node.wire.errors import MedSiloError


def dp_ready(
    bundle: BundlePath,
    out: Annotated[
        Path | None, typer.Option(help="Write the bundle with group in place of batch normalisation here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a model can be trained with differential privacy, by making one private step on made-up images.

    With `--out`, group normalisation takes the place of batch normalisation, and the answer is about the new bundle.

    Example: `medsilo model dp-ready my_model --out private.zip`
    """
    try:
        from pipelines.privacy.conversion import with_group_normalisation
        from pipelines.privacy.readiness import dp_ready as judge
    except ImportError:
        raise MedSiloError("privacy-unavailable") from None
    from pipelines.bundles import read_bundle
    from pipelines.networks import load_network

    with models.packed(bundle) as archive:
        if out is not None:
            with_group_normalisation(read_bundle(archive), out)
        read = read_bundle(out or archive)
        spec = read.profile.input
        found = judge(load_network(read), (spec.channels, *spec.shape))
    if as_json:
        print_json({"ready": found.ready, "reason": found.reason or None, "out": str(out) if out else None})
    elif found.ready:
        output().print(f"[green]Yes.[/] One private step was made{f' with {out}' if out else ''}.", soft_wrap=True)
    else:
        output().print(f"No: {found.reason}.", soft_wrap=True)
    if not found.ready:
        raise typer.Exit(1)
