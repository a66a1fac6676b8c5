"""The stages of the demonstration: what is shown while they run, and how long each took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


@dataclass
class Stage:
    """One running stage: a line with a bar, and notes above it."""

    progress: Progress
    task: TaskID
    label: str

    def expect(self, total: int) -> None:
        """Say how many steps the stage has."""
        self.progress.update(self.task, total=total)

    def at(self, done: int, note: str = "") -> None:
        """Say how many steps are done, and what is going on."""
        self.progress.update(self.task, completed=done, description=self._described(note))

    def step(self, note: str = "") -> None:
        """Say that one more step is done."""
        self.progress.update(self.task, advance=1, description=self._described(note))

    def tell(self, text: str) -> None:
        """Print a line that stays."""
        self.progress.console.print(f"  [dim]{text}[/]", soft_wrap=True)

    def _described(self, note: str) -> str:
        return f"{self.label}: {note}" if note else self.label


@dataclass
class Stages:
    """The stages so far. Use as a context manager round the whole demonstration."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, label: str) -> Iterator[Stage]:
        """Run one stage; its wall-clock time goes into ``seconds`` even where it fails."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
        began = time.monotonic()
        quiet = not self.console.is_terminal
        with Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True, disable=quiet) as progress:
            try:
                yield Stage(progress, progress.add_task(label, total=None), label)
            finally:
                self.seconds[name] = round(time.monotonic() - began, 2)
        self.console.print(f"[green]✓[/] {label} [dim]{self.seconds[name]:.1f} s[/]")
