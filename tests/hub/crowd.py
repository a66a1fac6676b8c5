"""A board of very many entries at a few hospitals, made of rows that were computed for a few models.

Computing 10,000 models takes minutes; what a page or a list does with that many rows is the same for copies of them.
"""

import json
from itertools import pairwise
from typing import Any

from sqlalchemy import insert, select

from federation_hub.associations.tables import Association
from federation_hub.benchmarks.service import find
from federation_hub.db import now
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.service import latest
from federation_hub.leaderboards.tables import BoardRevision
from federation_hub.leaderboards.upkeep import Computed, install
from federation_hub.models.tables import Model
from federation_hub.services import Services
from silo_node.wire.canonical import canonical_bytes


def crowd(services: Services, *, ranked: int, waiting: int = 0, name: str = "chest_phantom") -> None:
    """Let so many models be ranked on a board, and others be listed without numbers, and let that board stand."""
    with services.database.reading() as session:
        benchmark = find(session, name)
        standing = latest(session, name)
        assert standing is not None
        model = session.scalars(select(Model).order_by(Model.digest)).first()
        before, kept = json.loads(standing.body), standing.manifest or {}
    body = crowded(before, ranked, waiting)
    names = {row["model"]: row["name"] for row in body["rows"]}
    known = {row["model"] for row in before["rows"]}
    same = {"kind": "model-benchmark", "state": "approved", "requested_side": "model", "benchmark_id": benchmark.id}
    same |= {"requested_by": "per-000000000000", "decided": now(), "created": now()}
    fresh = [digest for digest in names if digest not in known]
    copied = {column.key: getattr(model, column.key) for column in Model.__mapper__.column_attrs}
    with services.database.session() as session:
        rows = [copied | {"digest": digest, "card": {**copied["card"], "name": names[digest]}} for digest in fresh]
        session.execute(insert(Model), rows)
        places = [same | {"id": f"assoc-{number:012d}", "model_digest": digest} for number, digest in enumerate(fresh)]
        session.execute(insert(Association), places)
        outdate(session, [benchmark])
        number = session.get_one(BoardRevision, benchmark.id).changed
        assert install(session, Computed(benchmark.id, number, canonical_bytes(body), kept, results=True))


def crowded(snapshot: dict[str, Any], ranked: int, waiting: int) -> dict[str, Any]:
    """Return a snapshot with copies of its rows, each a place further down, and rows that wait for results."""
    shown = [row for row in snapshot["rows"] if row["status"] == "ranked"]
    size, rows, entries = len(shown), list(snapshot["rows"]), dict(snapshot["entries"])
    for number in range(size, ranked):
        turn, pattern = divmod(number, size)
        row, digest = shown[pattern], f"blake3:{number:064x}"
        low, high = row["rank_low"] + turn * size, row["rank_high"] + turn * size
        place = {"rank": f"{low}-{high}", "rank_low": low, "rank_high": high, "tie_group": row["tie_group"] + turn}
        rows.append({**row, **place, "model": digest, "name": f"{row['name']}, entry {number}"})
        entries[digest] = entries[row["model"]]
    for number in range(waiting):
        digest = f"blake3:{number + 10**9:064x}"
        status = {"status": "awaiting", "reason": "no-site-reported", "sites": 0, "baseline": False}
        rows.append({"model": digest, "name": f"Waiting {number}", **status})
        entries[digest] = {"organisation": "University", "study": None, "attempt": 1}
    orders = [
        {**order, "ranks": {row["model"]: place + 1 for place, row in enumerate(rows) if "rank" in row}}
        for order in snapshot["sensitivity"]
    ]
    pairs = [
        {**snapshot["pairs"][0], "a": first["model"], "b": second["model"]}
        for first, second in pairwise(rows)
        if "rank" in first and "rank" in second
    ]
    return {**snapshot, "rows": rows, "entries": entries, "models": len(rows), "sensitivity": orders, "pairs": pairs}
