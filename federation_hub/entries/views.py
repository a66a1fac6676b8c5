"""An entry as its owner sees it: site by site, and what was released so far."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.statistics.rules import benchmark_rules
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.messages import EntryList, EntryResult, EntrySite, EntryView
from federation_hub.entries.service import entry_of, silent_models
from federation_hub.entries.tables import Entry
from federation_hub.evaluations.matrix import grid
from federation_hub.leaderboards.service import gather, listed
from federation_hub.leaderboards.snapshots import BoardInputs, snapshot_bytes
from federation_hub.models.tables import Model
from federation_hub.paging import PageQuery, page
from silo_node.wire.canonical import parse_object

MOVING = frozenset({"waiting", "running", "held"})
"""States of a cell in which something will happen by itself, or by a person at the hospital."""


def entries_view(session: Session, model: Model, query: PageQuery) -> EntryList:
    """Return a page of a model's entries with where they stand; also its places that nobody submitted it to."""
    entered = select(Entry.benchmark_id).where(Entry.model_digest == model.digest)
    placed = select(Association.benchmark_id).where(Association.model_digest == model.digest)
    rows = select(Benchmark).where(Benchmark.id.in_(entered.union(placed)))
    found = page(session, rows, query, Benchmark.name, Benchmark.version)
    return EntryList(entries=tuple(entry_view(session, model, benchmark) for benchmark in found.rows), next=found.next)


def entry_view(session: Session, model: Model, benchmark: Benchmark) -> EntryView:
    """Return one entry."""
    entry = entry_of(session, benchmark, model.digest)
    consent = session.scalar(
        select(Association.state).where(
            Association.benchmark_id == benchmark.id, Association.model_digest == model.digest
        )
    )
    sites = _sites(session, benchmark, model)
    return EntryView.model_validate(
        {
            "benchmark": benchmark.name,
            "benchmark_version": benchmark.version,
            "model": model.digest,
            "name": model.card["name"],
            "version": model.version,
            "state": model.state,
            "consent": consent,
            "attempt": entry.attempt if entry else None,
            "phase": entry.phase if entry else None,
            "visibility": entry.visibility if entry else "public",
            "embargo_until": entry.embargo_until if entry else None,
            "sites": sites,
            "result": own_result(session, benchmark, model, entry),
            "settled": model.state != "checking" and not any(site.state in MOVING for site in sites),
        }
    )


def own_result(session: Session, benchmark: Benchmark, model: Model, entry: Entry | None) -> EntryResult:
    """Return what was released of a model, whoever else may see it: its row on a board of itself and the baselines."""
    rules = benchmark_rules(benchmark.definition, digest=benchmark.digest)
    told = {"metric": rules.primary.name, "label": rules.ranked_label}
    best = silent_models(session, benchmark).get(model.digest)
    if best is not None:
        return EntryResult.model_validate({**told, "status": "silent", "code": "ladder-no-gain", "best": best})
    inputs = gather(session, benchmark)
    if not any(model.digest in block.text and model.digest in block.block["models"] for block in inputs.blocks):
        return EntryResult.model_validate({**told, "status": "awaiting", "code": None})
    row = _row(_beside_baselines(session, inputs, model, entry), model.digest)
    numbers = {name: row.get(name) for name in ("estimate", "low", "high", "failed")}
    shown = row["status"] in ("ranked", "compared")
    return EntryResult.model_validate(
        {
            **told,
            "status": "released" if shown else "withheld",
            "code": None if shown else "too-few-sites",
            **(numbers if shown else {}),
            "sites": row.get("sites") or 0,
            "cases": (row.get("cases") or 0) if shown else 0,
        }
    )


def _beside_baselines(session: Session, inputs: BoardInputs, model: Model, entry: Entry | None) -> BoardInputs:
    organisation = session.get_one(Organisation, model.owner_organisation_id).name
    baselines = (one for one in inputs.models if one.baseline and one.digest != model.digest)
    return replace(inputs, models=(listed(model, organisation, entry), *baselines))


def _row(inputs: BoardInputs, digest: str) -> dict[str, Any]:
    rows: Iterable[dict[str, Any]] = parse_object(snapshot_bytes(inputs))["rows"]
    return next(row for row in rows if row["model"] == digest)


def _sites(session: Session, benchmark: Benchmark, model: Model) -> tuple[EntrySite, ...]:
    found = grid(session, benchmark, [model.digest])
    cells = next((row.cells for row in found.rows(slice(None))), ())
    return tuple(
        EntrySite(site=site.label, **cell.model_dump()) for site, cell in zip(found.sites, cells, strict=False)
    )
