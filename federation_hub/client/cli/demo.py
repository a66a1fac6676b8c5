"""``medsilo demo``: a whole federation on this machine."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from federation_hub.client.cli.leaderboard import print_board
from federation_hub.client.cli.session import AsJson
from federation_hub.client.hub import Hub, Record
from federation_hub.client.terminal import messages, output, print_json
from silo_node.wire.errors import MedSiloError

if TYPE_CHECKING:
    from federation_hub.client.demo.processes import Processes

Dataset = Literal["chest_phantom", "pneumonia_xray", "hippocampus_mr", "hippocampus_dicom"]
DatasetOption = Annotated[
    Dataset,
    typer.Option(help="chest_phantom (drawn by a program), pneumonia_xray, hippocampus_mr or hippocampus_dicom."),
]


def demo(
    dataset: DatasetOption = "chest_phantom",
    data: Annotated[Path | None, typer.Option(help="Folder of a real data set, see its benchmark's README.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of the study; by default the benchmark's.")] = None,
    home: Annotated[Path | None, typer.Option(help="An empty folder to work in; by default a temporary one.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the hub; 0 takes a free one.")] = 0,
    exit_: Annotated[bool, typer.Option("--exit", help="End when all is done instead of waiting for Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run one hub and three hospitals as separate processes, from images to the leaderboard.

    Every process is stopped at the end, on Ctrl-C, and where one of them fails, also while you look around: the command
    then says which, and ends with status 1. The working folder is kept where something failed
    or where you named it.

    Example: `medsilo demo --exit --json`
    """
    from federation_hub.client.demo.options import demo_options
    from federation_hub.client.demo.places import make_places
    from federation_hub.client.demo.processes import Processes
    from federation_hub.client.demo.run import run_demo

    options = demo_options(dataset, data, port=port, rounds=rounds)
    places = make_places(home)
    with (
        _kept_on_failure(places.root, named=home is not None),
        _stopped_by_signals(),
        Processes(places.logs, _environment()) as processes,
    ):
        found = run_demo(options, places, processes, messages())
        _show(found, as_json=as_json)
        if not exit_:
            messages().print("The hub stays up until Ctrl-C.")
            _stay_until_interrupted(processes)


def _show(found: Record, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    address, _, name = found["url"].rpartition("/benchmarks/")
    hub = Hub(address)
    print_board(hub.leaderboard(name), hub.benchmark(name))
    output().print(f"Leaderboard: [bold]{found['url']}[/]   ({found['seconds']['total']:.0f} s)", soft_wrap=True)


@contextmanager
def _kept_on_failure(root: Path, *, named: bool) -> Iterator[None]:
    try:
        yield
    except MedSiloError:
        messages().print(f"Everything is kept in {root}; logs are in {root / 'logs'}.", soft_wrap=True)
        raise
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            messages().print(f"Everything is kept in {root}.", soft_wrap=True)
            raise
        if not named:
            shutil.rmtree(root, ignore_errors=True)
        raise
    if not named:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let a request to end the program end it as Ctrl-C does, so that its processes are stopped."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment() -> dict[str, str]:
    """Return the environment of the demonstration's processes: one thread each, and no setting of the user's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MEDSILO_", "SILO_"))}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1"}


def _stay_until_interrupted(processes: "Processes") -> None:
    """A demonstration without its hub, or without one of its hospitals, is over, and its visitor is told so at once."""
    try:
        processes.stay()
    except KeyboardInterrupt:
        messages().print("Stopping.")
