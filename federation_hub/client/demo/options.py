"""From the command line's words to what is demonstrated, checked before anything starts."""

from pathlib import Path

from benchmarks.definition import bundled
from federation_hub.client.demo.run import DemoOptions
from silo_node.wire.errors import BadInput


def demo_options(dataset: str, data: Path | None, *, port: int, rounds: int | None) -> DemoOptions:
    """Return the options of a demonstration.

    Raises ``data-missing`` where a real data set's folder is not given or not there.
    """
    definition = bundled(dataset)
    if definition.provenance != "synthetic" and data is None:
        raise BadInput("data-missing", f"{dataset} needs the folder of its images")
    if data is not None and not data.is_dir():
        raise BadInput("data-missing", f"{data} is not a folder")
    return DemoOptions(
        dataset=dataset,
        definition=definition,
        data=data.resolve() if data is not None else None,
        port=port,
        rounds=rounds,
    )
