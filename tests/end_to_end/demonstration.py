"""Running ``medsilo demo`` as a person does, and looking at what it leaves."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_LIMIT_SECONDS = 900
_COMMAND_SECONDS = 120


@dataclass(frozen=True)
class Demonstrated:
    """A demonstration that has ended: its report, its folder, what it wrote to standard error."""

    report: dict[str, Any]
    home: Path
    messages: str


def command(home: Path, *arguments: str) -> list[str]:
    """Return the command line of a demonstration in a folder of its own."""
    return [sys.executable, "-m", "federation_hub.client.cli", "demo", "--home", str(home), *arguments]


def demonstrate(home: Path, *arguments: str, **variables: str) -> Demonstrated:
    """Run a demonstration to its end; a failure shows the tail of every log. ``variables`` go to its environment."""
    called = command(home, "--exit", "--json", *arguments)
    surroundings = environment() | variables
    done = subprocess.run(called, capture_output=True, text=True, timeout=_LIMIT_SECONDS, env=surroundings)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stderr}\n{log_tails(home)}"
    return Demonstrated(json.loads(done.stdout), home, done.stderr)


@dataclass(frozen=True)
class Standing:
    """A demonstration that is done and stays up: its hub and its nodes run, and people may come."""

    report: dict[str, Any]
    home: Path
    process: subprocess.Popen[str]
    variables: Mapping[str, str]
    """What its environment had besides ours; further nodes and commands of its hospitals get the same."""

    @property
    def url(self) -> str:
        """Return the hub's address."""
        return str(self.report["url"]).partition("/benchmarks/")[0]

    def command(self, module: str, *arguments: str) -> str:
        """Run a command of the product beside the demonstration and return what it printed."""
        called = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(
            called, capture_output=True, text=True, timeout=_COMMAND_SECONDS, env=environment() | dict(self.variables)
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> Demonstrated:
        """End it, and return what it leaves; ending it again does nothing."""
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(timeout=60) == 0, log_tails(self.home)
        return Demonstrated(self.report, self.home, _messages(self.home).read_text())


@contextmanager
def standing(home: Path, **variables: str) -> Iterator[Standing]:
    """Run a demonstration until it is done, and keep it up inside the block. ``variables`` go to its environment."""
    surroundings = environment() | variables
    with _messages(home).open("w") as said:
        process = subprocess.Popen(
            command(home, "--json"), stdout=subprocess.PIPE, stderr=said, text=True, env=surroundings
        )
    limit = threading.Timer(_LIMIT_SECONDS, process.terminate)
    limit.start()
    try:
        assert process.stdout is not None
        # The report is told as soon as there is one: its last line is that brace.
        printed = list(_until(process.stdout, "}\n"))
        limit.cancel()
        assert printed[-1:] == ["}\n"], f"{_messages(home).read_text()}\n{log_tails(home)}"
        running = Standing(json.loads("".join(printed)), home, process, variables)
        yield running
        running.stop()
    finally:
        limit.cancel()
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
        assert process.stdout is not None
        process.stdout.close()


def _until(lines: Iterable[str], last: str) -> Iterator[str]:
    for line in lines:
        yield line
        if line == last:
            return


def _messages(home: Path) -> Path:
    return home.parent / f"{home.name}.messages"


def environment() -> dict[str, str]:
    """Return an environment in which no process computes with more than one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def log_tails(home: Path) -> str:
    """Return the last lines of every log of a demonstration."""
    logs = sorted((home / "logs").glob("*.log")) + sorted(home.glob("silo-*/logs/*.log"))
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs)


def processes_of(home: Path) -> list[str]:
    """Return the command lines of running processes that name this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if any(str(home) in word for word in line):
            found.append(" ".join(line))
    return found


def check_sense(report: dict[str, Any], *, sites: int = 3, cases: int = 60) -> None:
    """Check what holds for every demonstration: four models, every site, honest intervals, whole rounds."""
    entries, study = report["entries"], report["study"]
    assert len(entries) == 4
    assert len({entry["model"] for entry in entries}) == 4
    for entry in entries:
        assert 1 <= entry["rank_low"] <= entry["rank_high"] <= 4
        assert entry["low"] <= entry["estimate"] <= entry["high"]
        assert entry["worst_estimate"] is not None
        assert entry["sites"] == sites
        assert entry["cases"] >= cases
    assert study["model"] in [entry["digest"] for entry in entries], "the study's model is on the board"
    assert study["rounds"] == len(study["sites_per_round"]) == len(study["metric_per_round"])
    assert study["sites_per_round"] == [sites] * study["rounds"]
    assert all(value is not None for value in study["metric_per_round"])
    assert set(report["seconds"]) == {"start", "enrolment", "cohorts", "evaluation", "study", "leaderboard", "total"}


def federated(report: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of the model the study made."""
    return next(entry for entry in report["entries"] if entry["digest"] == report["study"]["model"])
