"""Run the pipelines' jobs in a jail and read back only what they declare.

Everything a jailed process says is untrusted: its lines are parsed strictly, a failure is one of the registered codes,
and a file it names counts only inside a folder it was given to write.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from pydantic import BaseModel

from pipelines.errors import PipelineError
from pipelines.job import DoneEvent, ErrorEvent, Event, ProgressEvent, ReadyEvent, RoundCommand, RoundEvent, read_event
from silo_node.sandbox.driver import Sandbox
from silo_node.sandbox.jail import Ending, Jail
from silo_node.sandbox.limits import MEGABYTE, Bind, Limits, outside
from silo_node.wire.errors import PROBLEMS, WorkFailed

START_SECONDS = 600.0
"""How long a training session may take to import its libraries and read its data, besides its first round."""
LOOK_SECONDS = 0.5

Progress = Callable[[int, int], None]
"""Called with how many parts are done, and of how many."""


class WorkCancelled(Exception):
    """The work was stopped because nobody wants it any more; there is nothing to report."""


def _never() -> bool:
    return False


def run_job(
    sandbox: Sandbox,
    job: BaseModel,
    binds: Sequence[Bind],
    limits: Limits,
    *,
    scratch: Path,
    log: Path | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = _never,
) -> None:
    """Run a batch job (prepare, evaluate, check) to its end. The paths in the job are those inside the jail.

    Raises :class:`WorkFailed` with the worker's own code, ``sandbox-limit``, ``output-invalid`` or ``work-failed``, and
    :class:`WorkCancelled` once ``cancelled`` says so.
    """
    failure: str | None = None
    done = False
    with Worker(sandbox, job, binds, limits, scratch=scratch, log=log) as worker:
        for event in worker.events(cancelled):
            if isinstance(event, ProgressEvent) and progress is not None:
                progress(event.done, event.total)
            elif isinstance(event, ErrorEvent):
                failure = failure or event.code
            elif isinstance(event, DoneEvent):
                done = True
        ending = worker.ending()
    if failure or not ending.well or not done:
        raise failed(ending, failure)


def run_program(
    sandbox: Sandbox,
    argv: Sequence[str],
    binds: Sequence[Bind],
    limits: Limits,
    *,
    log: Path | None = None,
    cancelled: Callable[[], bool] = _never,
) -> None:
    """Run a program that speaks no protocol to its end; what it prints is dropped, what it writes stays in its folder.

    Its writable folders together may grow to ``limits.file_mb``. Raises as :func:`run_job` does.
    """
    jail = sandbox.start(argv, binds, limits, log=log)
    jail.close_input()
    written = [bind.source for bind in binds if bind.writable]
    try:
        while not _ended(jail):
            if cancelled():
                raise WorkCancelled
            if sum(map(_size, written)) > limits.file_mb * MEGABYTE:
                raise WorkFailed("sandbox-limit", "limit: disk")
        ending = jail.wait(timeout=10)
    except TimeoutError:
        ending = jail.kill()
    finally:
        jail.kill()
    if not ending.well:
        raise failed(ending, None)


def _ended(jail: Jail) -> bool:
    """Look at the output for half a second; return whether it has come to its end."""
    deadline = time.monotonic() + LOOK_SECONDS
    try:
        while (left := deadline - time.monotonic()) > 0:
            if jail.read_line(left) is None:
                return True
    except TimeoutError:
        pass
    return False


def _size(folder: Path) -> int:
    return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(folder))


class TrainingSession:
    """A study's process at this site, kept over its rounds so that libraries and data are loaded once.

    Open and use it in one thread that lives longer than the session: the kernel ends a jail with its thread.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        job: BaseModel,
        binds: Sequence[Bind],
        limits: Limits,
        *,
        scratch: Path,
        log: Path | None = None,
    ) -> None:
        self._worker = Worker(sandbox, job, binds, limits, scratch=scratch, log=log)
        self._ready = False

    @property
    def running(self) -> bool:
        return self._worker.jail.running

    def round(
        self,
        command: RoundCommand,
        *,
        wall_seconds: float,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] = _never,
    ) -> tuple[RoundEvent, Path | None]:
        """Run one round; return its event and where the update lies on the host.

        Raises as :func:`run_job` does. After the worker's own coded error the session still serves the next round;
        after any other failure, and when cancelled, it has ended.
        """
        self._worker.jail.allow(wall_seconds + (0 if self._ready else START_SECONDS))
        self._worker.say(command)
        for event in self._worker.events(cancelled):
            if isinstance(event, ReadyEvent):
                self._ready = True
            elif isinstance(event, ProgressEvent) and progress is not None:
                progress(event.done, event.total)
            elif isinstance(event, ErrorEvent):
                raise WorkFailed(known_code(event.code))
            elif isinstance(event, RoundEvent):
                return self._judged(event, command)
        raise failed(self._worker.ending(), None)

    def pause(self) -> None:
        """Stop the wall clock between rounds, when the process only waits."""
        self._worker.jail.allow(float("inf"))

    def close(self) -> None:
        """End the session and everything in it."""
        self._worker.close()

    def _judged(self, event: RoundEvent, command: RoundCommand) -> tuple[RoundEvent, Path | None]:
        silent = command.validate_only and command.neighbourhood is None
        beside = None if command.neighbourhood is None else len(command.neighbourhood.beside)
        mixed = None if event.mixed is None else len(event.mixed.pulls)
        if event.round != command.round or (event.update is None) != silent or mixed != beside:
            self.close()
            raise WorkFailed("output-invalid", "the work answered what it was not asked")
        return event, None if event.update is None else self._worker.file(event.update)


class Worker:
    """One ``pipelines.worker`` process in its jail, with the file that tells it its job."""

    def __init__(
        self,
        sandbox: Sandbox,
        job: BaseModel,
        binds: Sequence[Bind],
        limits: Limits,
        *,
        scratch: Path,
        log: Path | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="job-", dir=scratch)
        self._binds = [*binds, Bind(Path(self._folder.name), "/job")]
        self._jailed = sandbox.jailed
        Path(self._folder.name, "job.json").write_text(self._seen(job))
        try:
            argv = [sys.executable, "-m", "pipelines.worker", str(self._path("/job/job.json"))]
            self.jail = sandbox.start(argv, self._binds, limits, log=log)
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def say(self, command: BaseModel) -> None:
        """Write one command. A process that is gone is noticed when its events end."""
        self.jail.send(self._seen(command))

    def events(self, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Yield what the process says until it ends.

        Raises :class:`WorkCancelled`, and :class:`WorkFailed` for a line that is no event; both end the process.
        """
        while True:
            if cancelled():
                self.close()
                raise WorkCancelled
            try:
                line = self.jail.read_line(LOOK_SECONDS)
            except TimeoutError:
                continue
            if line is None:
                return
            try:
                yield read_event(line)
            except PipelineError:
                self.close()
                raise WorkFailed("output-invalid", "the work said something that is not declared") from None

    def file(self, inside: Path) -> Path:
        """Return the host's path of a file the process names; see :func:`outside`."""
        return outside(PurePosixPath(inside), self._binds)

    def ending(self) -> Ending:
        """Return how the process ended; one that closed its output and lingers is ended."""
        try:
            return self.jail.wait(timeout=10)
        except TimeoutError:
            return self.jail.kill()

    def close(self) -> None:
        """End the process and everything in its jail, and remove the job file."""
        self.jail.kill()
        self._folder.cleanup()

    def _seen(self, message: BaseModel) -> str:
        """Return a message as JSON; without a jail, the host's paths stand for those inside it."""
        value = message.model_dump(mode="json")
        return json.dumps(value if self._jailed else self._replaced(value))

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._replaced(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._replaced(inner) for inner in value]
        return str(self._path(value)) if isinstance(value, str) and value.startswith("/") else value

    def _path(self, inside: str) -> PurePosixPath:
        path = PurePosixPath(inside)
        bind = next((bind for bind in self._binds if path.is_relative_to(bind.target)), None)
        return path if self._jailed or bind is None else PurePosixPath(bind.source / path.relative_to(bind.target))


def failed(ending: Ending, code: str | None) -> WorkFailed:
    """Return why jailed work has no result: a limit before the worker's own code, and that before nothing at all."""
    if ending.exceeded == "output":
        return WorkFailed("output-invalid", "the work wrote a line without an end")
    if ending.exceeded is not None:
        return WorkFailed("sandbox-limit", f"limit: {ending.exceeded}")
    return WorkFailed(known_code(code), f"exit status {ending.status}")


def known_code(code: str | None) -> str:
    """Return a code of the registry; what a jailed process made up becomes ``work-failed``."""
    return code if code in PROBLEMS else "work-failed"
