"""What a round costs besides training: seconds, the hub's peak memory, bytes on the wire, disk.

A real hub process and, for each silo, a process with the node's real transfer code; the trainer does nothing. ::

    python -m tests.performance.round_cost --mb 400 --silos 4 --rounds 3
    python -m tests.performance.round_cost --mb 100 --silos 4 --rounds 3 --peer nvflare

A round begins when the hub opens it and ends when the next one is open: tasks, downloads, uploads, checks, fold and
commit are all in it. Fetching the starting bundle, once a study, is not. Everything runs on this machine and shares
its cores.
"""

import argparse
import json
import math
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import numpy as np
from safetensors.numpy import save_file

from tests.conftest import HubProcess, start_hub, stop_hub
from tests.performance.process import cpu_seconds, peak_memory
from tests.sites import TOY, Arrays, Person, Site, toy_plan, write_bundle

TENSORS = 40


@dataclass(frozen=True)
class Cost:
    """What was measured."""

    seconds: list[float]
    hub_cpu_a_round: float
    peak_memory_mb: float
    wire_mb_a_round: float
    disk_peak_mb: float


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=100, help="size of the model in MB (10^6 bytes)")
    parser.add_argument("--silos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", choices=["nvflare"], help="run the same round on this framework, too")
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    arguments = parser.parse_args()
    table = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        table["MedSilo"] = measure(Path(name), arguments.mb, arguments.silos, arguments.rounds)
    if arguments.peer == "nvflare":
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            table["NVIDIA FLARE"] = measure_nvflare(Path(name), arguments.mb, arguments.silos, arguments.rounds)
    print(f"{arguments.silos} silos, {arguments.mb:g} MB model, {arguments.rounds} rounds, {os.cpu_count()} cores")
    print(f"{'':14}{'s a round':>22}{'hub CPU s a round':>18}{'hub peak RSS MB':>18}{'wire MB':>10}{'hub disk MB':>12}")
    for label, cost in table.items():
        seconds = " ".join(f"{value:.2f}" for value in cost.seconds)
        print(
            f"{label:14}{seconds:>22}{cost.hub_cpu_a_round:>18.2f}{cost.peak_memory_mb:>18.0f}"
            f"{cost.wire_mb_a_round:>10.0f}{cost.disk_peak_mb:>12.0f}"
        )


def measure(folder: Path, megabytes: float, silos: int, rounds: int) -> Cost:
    """Run a study of that size on a fresh hub."""
    hub = start_hub(folder / "hub")
    disk = DiskWatch(hub.home)
    try:
        study_id, sites, researcher = prepare(folder, hub, megabytes, silos, rounds)
        workers = [multiprocessing.Process(target=be_a_site, args=(site, folder, rounds)) for site in sites]
        for worker in workers:
            worker.start()
        disk.start()
        before = cpu_seconds(hub.process.pid)
        researcher.do("POST", f"/studies/{study_id}/start")
        researcher.wait_for(study_id, "completed", "failed", seconds=3600, pause=0.5)
        for worker in workers:
            worker.join(60)
        cpu = (cpu_seconds(hub.process.pid) - before) / rounds
        peak = peak_memory(hub.process.pid)
        seconds = round_seconds(hub.home, rounds)
        wire = sum(bytes_sent(site) for site in sites) + silos * rounds * megabytes * 1e6
    finally:
        disk.stop()
        stop_hub(hub)
    return Cost(seconds, cpu, peak, wire / rounds / 1e6, disk.peak / 1e6)


def measure_nvflare(folder: Path, megabytes: float, silos: int, rounds: int) -> Cost:
    """Run the same rounds on NVIDIA FLARE, by the interpreter that has it."""
    python = os.environ.get("NVFLARE_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import nvflare"], capture_output=True).returncode != 0:
        sys.exit(
            f"{python} has no nvflare. Make an environment for it and name its interpreter:\n"
            "  python -m venv flare && flare/bin/pip install nvflare\n"
            "  NVFLARE_PYTHON=flare/bin/python python -m tests.performance.round_cost --peer nvflare"
        )
    called = [python, str(Path(__file__).with_name("nvflare_round.py")), "--folder", str(folder)]
    called += ["--mb", str(megabytes), "--silos", str(silos), "--rounds", str(rounds)]
    done = subprocess.run(called, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return Cost(**found, wire_mb_a_round=2 * silos * megabytes, disk_peak_mb=math.nan)


def prepare(folder: Path, hub: HubProcess, megabytes: float, silos: int, rounds: int) -> tuple[str, list[Site], Person]:
    """Publish the benchmark, submit the model, enrol the silos and let them agree to the study."""
    admin = Person(hub.url, hub.admin_token)
    admin.do("POST", "/benchmarks", TOY.model_dump_json())
    token = hub.command("person", "add", "Ada", "--role", "researcher", "--organisation", "University")
    researcher = Person(hub.url, token.strip())
    model = researcher.submit(write_bundle(folder, random_model(megabytes, 0), channels=(2048, 2048, 2048)))
    sites = [Site.join(folder / f"site{number}", hub.url, admin, f"Site {number}", 100) for number in range(silos)]
    plan = toy_plan(model, sites, rounds=rounds, deadline_seconds=3600)
    study_id = str(researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])
    for place, site in enumerate(sites):
        door = site.dial()
        site.consent(door)
        door.close()
        save_file(random_model(megabytes, place + 1), folder / f"update{place}.safetensors")
    return study_id, sites, researcher


def random_model(megabytes: float, seed: int) -> Arrays:
    """Return float32 tensors of that many MB together, small enough to be a plausible update."""
    rng = np.random.default_rng(seed)
    values = max(1, int(megabytes * 1e6 / 4 / TENSORS))
    return {f"layer{number:02}.weight": 1e-3 * rng.standard_normal(values, np.float32) for number in range(TENSORS)}


def be_a_site(site: Site, folder: Path, rounds: int) -> None:
    """Answer every round at once with the same ready-made update."""
    hub = site.dial()
    update = folder / f"update{site.home.path.name.removeprefix('site')}.safetensors"
    for _ in range(rounds + 1):
        task = site.claim(hub, seconds=3600)
        site.weights(hub, task).unlink()
        site.report(hub, task, None if task.body.validate_only else hub.upload(update, "update"))
    hub.close()


def round_seconds(home: Path, rounds: int) -> list[float]:
    """Return for each training round the seconds from its opening to that of the next one."""
    with closing(sqlite3.connect(home / "hub.sqlite")) as database:
        rows = list(database.execute("select opened from study_round order by number, attempt"))
    opened = [datetime.fromisoformat(row[0]) for row in rows]
    return [(after - before).total_seconds() for before, after in pairwise(opened[: rounds + 1])]


def bytes_sent(site: Site) -> int:
    """Return how many bytes of bodies left a site, by its egress log."""
    with site.home.egress_log.open() as log:
        return sum(json.loads(line)["size"] for line in log)


class DiskWatch:
    """The largest size a folder was seen to have."""

    def __init__(self, folder: Path) -> None:
        self.peak = 0
        self._folder = folder
        self._stopping = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(0.2):
            sizes = []
            for path in self._folder.rglob("*"):
                try:
                    sizes.append(path.stat().st_size)
                except FileNotFoundError:
                    continue
            self.peak = max(self.peak, sum(sizes))


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"({time.monotonic() - started:.0f} s in all)")
