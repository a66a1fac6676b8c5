"""The sandbox's entry point: ``python -m pipelines.worker JOB_FILE``.

Standard output carries the protocol of :mod:`pipelines.job` and nothing else: the descriptor is taken away at the
start, so that a library's stray print lands in the log. Standard error is the site's own log; neither ever holds the
content of a case, and of an unforeseen error only its kind and where in the code it happened.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel

from pipelines.errors import PipelineError
from pipelines.job import (
    CheckJob,
    DoneEvent,
    ErrorEvent,
    EvaluateJob,
    InspectJob,
    Job,
    PredictJob,
    PrepareJob,
    ProgressEvent,
    ReadyEvent,
    StageJob,
    StopCommand,
    TrainSession,
    read_command,
    read_job,
)

logger = logging.getLogger("pipelines.worker")
PROGRESS_SECONDS = 0.2
UNUSED = ("PIL", "pandas", "psutil", "pyarrow", "pydicom", "requests", "rich", "sklearn", "yaml")
"""What MONAI imports where it is installed and no job needs: a jail starts sooner and holds less code."""

NEEDED_FOR_PRIVACY = tuple(
    f"scipy.{part}" for part in ("interpolate", "optimize", "signal", "sparse", "spatial", "stats")
)
"""The same, but the accountants that come with differentially private training import it."""


class Protocol:
    """Writes events, one JSON object a line, and thins out progress."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last = stream, 0.0

    def send(self, event: BaseModel) -> None:
        """Write one event at once."""
        self._stream.write(event.model_dump_json() + "\n")
        self._stream.flush()

    def progress(self, done: int, total: int) -> None:
        """Tell how far the work has come, at most five times a second and always at the end."""
        now = time.monotonic()
        if done == total or now - self._last >= PROGRESS_SECONDS:
            self._last = now
            self.send(ProgressEvent(done=done, total=total))


def main(arguments: list[str] | None = None, *, alone: bool = False) -> int:
    """Run one job and return the exit status; see :mod:`pipelines.job`. ``alone``: in a process of its own."""
    arguments = sys.argv[1:] if arguments is None else arguments
    protocol = Protocol(_take_standard_output())
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        if len(arguments) != 1:
            raise PipelineError("malformed-message", "one argument, the job file")
        job = read_job(Path(arguments[0]))
    except PipelineError as error:
        _report(protocol, error)
        return 2
    if alone:
        leave_out(job)
    return run(job, protocol, sys.stdin)


def run(job: Job, protocol: Protocol, commands: Iterable[str]) -> int:
    """Do a job, taking a session's commands from ``commands``; returns the exit status and never raises."""
    try:
        if isinstance(job, InspectJob):
            from pipelines.inspection import inspect_models

            inspect_models(job)
            protocol.send(DoneEvent())
            return 0
        limit_threads(job.threads)
        if isinstance(job, TrainSession):
            _serve(job, protocol, commands)
        else:
            _do(job, protocol)
            protocol.send(DoneEvent())
    except Exception as error:
        # Whatever went wrong must become one coded event; a traceback with values must reach neither the protocol nor
        # the log.
        _report(protocol, error)
        return 1
    return 0


def _do(job: PrepareJob | EvaluateJob | StageJob | CheckJob | PredictJob, protocol: Protocol) -> None:
    """Run a batch job. Imports are here because each loads torch and MONAI, and only the kind at hand is needed."""
    if isinstance(job, PrepareJob):
        from pipelines.preparation.prepare import prepare_cases

        prepare_cases(job, protocol.progress)
    elif isinstance(job, EvaluateJob):
        from pipelines.inference import evaluate_models

        evaluate_models(job, protocol.progress)
    elif isinstance(job, StageJob):
        from pipelines.answers import stage_images

        stage_images(job)
    elif isinstance(job, PredictJob):
        from pipelines.prediction import predict_case

        predict_case(job)
    else:
        from pipelines.check import check_bundle

        check_bundle(job)


def _serve(job: TrainSession, protocol: Protocol, commands: Iterable[str]) -> None:
    """Answer commands until ``stop`` or the end of input; a bad command or a failed round is told and survived."""
    from pipelines.session import TrainingRounds

    rounds = TrainingRounds.opened(job, protocol.progress)
    protocol.send(ReadyEvent())
    for line in commands:
        if not line.strip():
            continue
        try:
            command = read_command(line)
            if isinstance(command, StopCommand):
                return
            protocol.send(rounds.run(command))
        except Exception as error:
            # The session holds the cached data of a whole study: one bad round must not end it.
            _report(protocol, error)


def limit_threads(threads: int) -> None:
    """Let torch compute on so many threads: their number changes the last bits of what is trained."""
    import torch

    from pipelines.device import CPU, granted_device, granted_share

    torch.set_num_threads(threads)
    if granted_device() != CPU:
        torch.cuda.set_per_process_memory_fraction(granted_share())


def _take_standard_output() -> TextIO:
    """Keep standard output for the protocol alone: descriptor 1 becomes standard error for everybody else."""
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(own, "w", encoding="utf-8")


def _report(protocol: Protocol, error: Exception) -> None:
    if isinstance(error, PipelineError):
        logger.error("%s", error)
        protocol.send(ErrorEvent(code=error.code))
        return
    place = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("%s in %s line %s", type(error).__name__, Path(place.filename).name, place.lineno)
    protocol.send(ErrorEvent(code="sandbox-limit" if isinstance(error, MemoryError) else "work-failed"))


def leave_out(job: Job) -> None:
    """Make this process do without the packages its job does not need; before anything imports them."""
    private = isinstance(job, TrainSession) and job.privacy is not None
    for name in UNUSED if private else UNUSED + NEEDED_FOR_PRIVACY:
        sys.modules[name] = None  # type: ignore[assignment]  # the documented way to make an import fail


if __name__ == "__main__":
    sys.exit(main(alone=True))
