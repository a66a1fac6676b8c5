"""What a large hub costs: a leaderboard of 1,000 models at 100 sites, its page, and 1,000 silos that ask for work.

    python -m tests.performance.hub [--models 1000] [--sites 100] [--silos 1000] [--seconds 30]
    python -m tests.performance.hub --entries 10000

Fills a hub's database with rows that its own routes would have written, then measures: the snapshot in processor time
of one core, the page through the application with and without its cache, how many queries it makes, and the answers of
a real `federation-hub web` over HTTP. Prints a table; ``docs/explanation/performance.md`` quotes it.
"""

import argparse
import asyncio
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, select

from federation_hub.accounts.service import ensure_admin
from federation_hub.accounts.tables import Organisation, Token
from federation_hub.accounts.tokens import new_token, token_hash
from federation_hub.app import build_services, create_app
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.service import find, publish
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.cli.session import operator
from federation_hub.config import HubConfig
from federation_hub.db import now
from federation_hub.evaluations.service import MODELS_A_BLOCK
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.leaderboards.inputs import manifest
from federation_hub.leaderboards.kept import BOARDS
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.service import gather
from federation_hub.leaderboards.snapshots import snapshot_bytes
from federation_hub.leaderboards.upkeep import Computed, install
from federation_hub.migrations.runner import migrate
from federation_hub.models.tables import Model
from federation_hub.server import keep_for_good
from federation_hub.services import Services
from federation_hub.silos.tables import Cohort, Silo
from silo_node.wire.versions import CURRENT, HEADER
from tests.conftest import start_hub, stop_hub
from tests.hub import showcase
from tests.hub.crowd import crowd
from tests.hub.federation import definition, hub_at
from tests.performance.process import cpu_seconds

METRICS = ("auroc", "brier", "ece")
CASES = 200


def fill(services: Services, *, models: int, sites: int, silos: int) -> list[str]:
    """Write the rows and return a token for each of ``silos`` active silos, the first ``sites`` of which reported."""
    benchmark = definition(metrics=[{"name": name, "primary": name == "auroc"} for name in METRICS], preparation=[])
    digests = [f"blake3:{index:064x}" for index in range(models)]
    tokens = [new_token("mss_") for _ in range(silos)]
    rng = np.random.default_rng(0)
    skill = rng.uniform(0.7, 0.95, models)
    with services.database.session() as session:
        actor = operator(services)
        row = publish(session, benchmark, actor=actor, organisation_id=actor.organisation_id or "")
        lab = Organisation(name="A laboratory")
        session.add(lab)
        session.flush()
        for index, digest in enumerate(digests):
            card = {"name": f"Model {index:04d}", "baseline": False}
            session.add(
                Model(digest=digest, size=1, state="accepted", card=card, owner_organisation_id=lab.id,
                      owner_person_id="per-000000000000")
            )  # fmt: skip
        session.flush()
        session.add_all(_association(row, model_digest=digest) for digest in digests)
        for index, token in enumerate(tokens):
            silo = Silo(name=f"Hospital {index:04d}", organisation_id=lab.id, state="active", publication="pseudonym")
            silo.last_seen = now() - timedelta(seconds=float(rng.uniform(0, 60)))
            session.add(silo)
            session.flush()
            session.add(Token(hash=token_hash(token), silo_id=silo.id, scopes=["silo"]))
            if index < sites:
                _report(session, row, silo, digests, skill, rng)
    return tokens


def _association(benchmark: Benchmark, **subject: str) -> Association:
    return Association(
        kind="model-benchmark",
        state="approved",
        benchmark_id=benchmark.id,
        requested_side="model",
        requested_by="per-000000000000",
        **subject,
    )


def _report(session: Any, row: Benchmark, silo: Silo, digests: list[str], skill: np.ndarray, rng: Any) -> None:
    """Write a cohort's accepted blocks, one for each group of models."""
    cohort = Cohort(
        silo_id=silo.id, benchmark_id=row.id, fingerprint=f"keyed-blake3:{silo.id}", state="registered",
        training_cases=0, validation_cases=0, test_cases=CASES, card={}, registration={},
    )  # fmt: skip
    session.add(cohort)
    session.flush()
    for start in range(0, len(digests), MODELS_A_BLOCK):
        part = slice(start, start + MODELS_A_BLOCK)
        names = digests[part]
        evaluation = Evaluation(
            benchmark_id=row.id, cohort_id=cohort.id, silo_id=silo.id, models=names, attempt=1, state="answered"
        )
        session.add(evaluation)
        session.flush()
        task = Task(silo_id=silo.id, kind="evaluation", state="accepted", evaluation_id=evaluation.id, body={})
        session.add(task)
        session.flush()
        theta = np.clip(skill[part] + rng.normal(0, 0.02) + rng.normal(0, 0.015, len(names)), 0.5, 0.999)
        session.add(
            EstimateBlockRow(
                digest=f"blake3:{evaluation.id}", evaluation_id=evaluation.id, task_id=task.id, benchmark_id=row.id,
                cohort_id=cohort.id, silo_id=silo.id, block=_block(silo.id, names, theta), envelope={},
            )
        )  # fmt: skip
    session.flush()


def _block(silo: str, models: list[str], theta: np.ndarray) -> dict[str, Any]:
    size = len(models)
    cov = np.round(0.02**2 * (0.6 + 0.4 * np.eye(size)), 10).tolist()
    metrics = [
        {"metric": name, "status": "estimated", "theta": np.round(theta, 4).tolist(), "cov": cov} for name in METRICS
    ]
    entry = {"label": "opacity", "positives": 100, "negatives": 100, "metrics": metrics, "operating_points": []}
    return {
        "silo_id": silo,
        "finished": "2026-11-22T00:00:00Z",
        "models": models,
        "cases": CASES,
        "patients": CASES,
        "failed": [0] * size,
        "classes": [entry | {"histograms": [], "calibration": []}],
        "structures": [],
        "subgroups": [],
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what some work gives, its processor time and its time on the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    found = work()
    return found, time.process_time() - cpu, time.perf_counter() - clock


def measure_snapshot(services: Services, table: Table) -> None:
    """Measure what computing the snapshot takes, and let it stand."""
    with services.database.reading() as session:
        row = find(session, "chest_phantom")
        inputs, cpu, clock = timed(lambda: gather(session, row))
    table.add_row("blocks read from the database", f"{cpu:.1f} s ({clock:.1f} s)", "")
    body, cpu, clock = timed(lambda: snapshot_bytes(inputs))
    table.add_row("snapshot computed, one core", f"{cpu:.1f} s ({clock:.1f} s)", "10 s")
    table.add_row("size of the snapshot", f"{len(body) / 1e6:.1f} MB", "")
    found = Computed(row.id, 1, body, manifest(inputs), results=True)

    def change() -> None:
        with services.database.session() as session:
            outdate(session, [row])

    def stand() -> None:
        with services.database.session() as session:
            install(session, found)

    for what, work in (("writing: the change counted", change), ("writing: the snapshot installed", stand)):
        table.add_row(what, f"{1000 * timed(work)[2]:.0f} ms on the clock", "")


def measure_pages(services: Services, table: Table) -> None:
    """Measure the pages that show it."""
    # What a page costs must not depend on what this process happened to compute before it.
    gc.collect()
    client = create_app(services.config, services=services).test_client()
    counts: list[str] = []
    event.listen(services.database.engine, "before_cursor_execute", lambda *a: counts.append(a[2]))
    for address in ("/benchmarks/chest_phantom", "/benchmarks/chest_phantom?sort=worst&page=3", "/"):
        _get(client, "/methods")
        cold, warm = [], []
        for _ in range(5):
            BOARDS.forget()
            cold.append(timed(lambda path=address: _get(client, path))[1])
            warm.append(timed(lambda path=address: _get(client, path))[1])
        counts.clear()
        size = len(_get(client, address))
        table.add_row(f"{address}, cached", f"{1000 * median(warm):.0f} ms", "100 ms")
        table.add_row(f"{address}, not cached", f"{1000 * median(cold):.0f} ms", "300 ms")
        table.add_row(f"{address}, weight, queries", f"{size / 1000:.0f} kB, {len(counts)}", "150 kB")


def measure_entries(entries: int) -> Table:
    """Measure the pages of a board with so many ranked models at four hospitals, over real HTTP."""
    table = Table("address", "first and then, ms", "weight, kB", title=f"{entries} entries, at a load of {_load()}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "hub"
        home.mkdir()
        config = HubConfig(home=home)
        services = build_services(config)
        migrate(services.database)
        ensure_admin(config, services.database)
        services.database.close()
        for federation in hub_at(home):
            showcase.fill(federation)
            crowd(federation.services, ranked=entries)
            federation.services.database.close()
        hub = start_hub(home)
        try:
            for address in _addresses(entries):
                clocks = []
                for _ in range(4):
                    answer, _, clock = timed(lambda path=address: requests.get(hub.url + path, timeout=120))
                    assert answer.status_code == 200, answer.text
                    clocks.append(1000 * clock)
                times = f"{clocks[0]:.0f}, {median(clocks[1:]):.0f}"
                table.add_row(address, times, f"{len(answer.content) / 1000:,.0f}")
        finally:
            stop_hub(hub)
    return table


def _addresses(entries: int) -> tuple[str, ...]:
    board, model = "/benchmarks/chest_phantom", f"/models/blake3:{entries - 1:064x}"
    data = f"/api/v1{board}/leaderboard"
    pages = (board, f"{board}?sort=worst&page=300", f"{board}?q=entry+77", f"{board}/compare", f"{board}/sites", model)
    return (*pages, "/", data, f"{data}.csv")


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def _get(client: Any, address: str) -> bytes:
    answer = client.get(address)
    assert answer.status_code == 200, answer.status_code
    return bytes(answer.data)


async def poll(url: str, token: str, start: float, until: float, times: list[float]) -> None:
    """Ask for work as a silo does, as often as the hub says, over a connection that is kept unless the hub hangs up."""
    parts = urlsplit(url)
    body = json.dumps({"kinds": ["evaluation", "round"]}).encode()
    head = (
        f"POST /api/v1/tasks/claim HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"{HEADER}: {CURRENT}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    await asyncio.sleep(max(0.0, start - time.monotonic()))
    connection = None
    while time.monotonic() < until:
        asked = time.monotonic()
        connection = connection or await asyncio.open_connection(parts.hostname, parts.port)
        reader, writer = connection
        writer.write(head + body)
        status = await reader.readline()
        size, kept = 0, True
        while (line := (await reader.readline()).lower()) not in (b"\r\n", b""):
            if line.startswith(b"content-length:"):
                size = int(line.split(b":")[1])
            kept = kept and line != b"connection: close\r\n"
        answer = json.loads(await reader.readexactly(size))
        if b" 200 " not in status:
            raise RuntimeError(f"a silo was answered {answer.get('code')}")
        times.append(time.monotonic() - asked)
        if not kept:
            writer.close()
            connection = None
        await asyncio.sleep(answer["wait_seconds"])
    if connection is not None:
        connection[1].close()


async def poll_all(url: str, tokens: list[str], seconds: float) -> list[float]:
    """Let every silo ask for as long as given; they come in over the first wait, as in a federation they would."""
    times: list[float] = []
    now = time.monotonic()
    spread = len(tokens) / 40
    starts = [now + spread * index / len(tokens) for index in range(len(tokens))]
    await asyncio.gather(
        *(poll(url, token, at, now + spread + seconds, times) for token, at in zip(tokens, starts, strict=True))
    )
    return times


def main() -> None:
    """Fill a hub in a temporary folder, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("models", 1000), ("sites", 100), ("silos", 1000), ("seconds", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--entries", type=int, help="only the pages of a board with so many ranked models")
    arguments = parser.parse_args()
    if arguments.entries:
        Console(width=160).print(measure_entries(arguments.entries))
        return
    title = f"{arguments.models} models at {arguments.sites} sites, at a load of {_load()}"
    table = Table("what", "measured", "goal", title=title)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "hub"
        home.mkdir()
        services = build_services(HubConfig(home=home))
        migrate(services.database)
        ensure_admin(services.config, services.database)
        silos = max(arguments.silos, arguments.sites)
        tokens = fill(services, models=arguments.models, sites=arguments.sites, silos=silos)
        gc.collect()
        keep_for_good()
        measure_snapshot(services, table)
        measure_pages(services, table)
        Console().print(table)
        title = f"{arguments.silos} silos, at a load of {_load()}"
        table = Table("what", "measured", "goal", title=title)
        with services.database.reading() as session:
            assert session.scalars(select(Silo.id)).first() is not None
        services.database.close()
        if arguments.silos:
            hub = start_hub(home)
            try:
                before = cpu_seconds(hub.process.pid)
                times = np.array(asyncio.run(poll_all(hub.url, tokens[: arguments.silos], arguments.seconds)))
                spent = cpu_seconds(hub.process.pid) - before
            finally:
                stop_hub(hub)
            low, high = 1000 * np.quantile(times, [0.5, 0.99])
            table.add_row(f"{arguments.silos} silos polling, {len(times)} answers, median", f"{low:.0f} ms", "")
            table.add_row("the same, p99", f"{high:.0f} ms", "200 ms")
            table.add_row("processor time of the hub, an answer", f"{1000 * spent / len(times):.1f} ms", "")
            Console().print(table)


if __name__ == "__main__":
    main()
