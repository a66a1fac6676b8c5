"""Where every model stands at every site, and why a cell is empty: a pure rule over what was asked and answered."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.statistics.rules import BenchmarkRules, benchmark_rules
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.tables import Entry
from federation_hub.evaluations.messages import CellState, Matrix, MatrixCell, MatrixRow, MatrixSite
from federation_hub.evaluations.service import Candidate, is_baseline, models_to_evaluate
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Cohort, Silo

_BY_BLOCK: Mapping[str, CellState] = {"accepted": "released", "disputed": "disputed", "withdrawn": "withdrawn"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One evaluation of a cohort, with its task and its answer."""

    evaluation_id: str
    models: frozenset[str]
    state: str
    code: str | None
    attempt: int
    task_state: str | None = None
    held: bool = False
    done: int = 0
    total: int = 0
    result: str | None = None
    """State of the block that answered it."""

    reason: str | None = None
    undefined: str | None = None
    """Why the block has no value of the primary metric."""


@dataclass(frozen=True, slots=True)
class Site:
    """A cohort on the benchmark. ``missing`` is why nothing is asked of it at present."""

    silo_id: str
    label: str
    missing: str | None
    asked: tuple[Asked, ...]
    """Newest first, without cancelled ones."""


def cell(model: str, site: Site, missing: str | None) -> MatrixCell:
    """Return where a model stands at a site; ``missing`` is why the model is asked of no site, if so.

    A result that counts goes first, then one in dispute, then whatever was asked last.
    """
    mine = [asked for asked in site.asked if model in asked.models]
    counted = next((asked for state in ("accepted", "disputed") for asked in mine if asked.result == state), None)
    last = counted or next((asked for asked in mine if asked.result != "superseded"), None)
    if last is None:
        code = site.missing or missing
        return MatrixCell(state="waiting" if code is None else "missing", code=code)
    state, code = _state(last)
    return MatrixCell(
        state=state,
        code=code,
        evaluation_id=last.evaluation_id,
        done=last.done,
        total=last.total,
        attempt=last.attempt,
    )


def _state(asked: Asked) -> tuple[CellState, str | None]:
    if asked.result is not None and asked.result in _BY_BLOCK:
        undefined = asked.undefined if asked.result == "accepted" else None
        return ("undefined", undefined) if undefined else (_BY_BLOCK[asked.result], asked.reason)
    if asked.state == "declined":
        return "declined", asked.code
    if asked.state == "refused":
        return "refused", asked.code
    if asked.held:
        return "held", None
    return ("running" if asked.task_state in ("claimed", "running", "reported") else "waiting"), asked.code


def matrix(session: Session, benchmark: Benchmark, only: str | None = None) -> Matrix:
    """Return the matrix of a benchmark version as its owner sees it; ``only`` one model's row where it is named."""
    models = _models(session, benchmark)
    chosen = _chosen(models)
    sites = _sites(session, benchmark)
    rows = [_row(row, sites, chosen) for row in models if only in (None, row.model.digest)]
    return Matrix(
        benchmark=benchmark.name,
        benchmark_version=benchmark.version,
        sites=tuple(MatrixSite(label=site.label, silo_id=site.silo_id) for site in sites),
        models=tuple(rows),
    )


def sites_asked(session: Session, benchmark: Benchmark) -> list[Silo]:
    """Return the silos with a cohort that takes part, or wants to."""
    rows = (
        select(Silo)
        .join(Cohort, Cohort.silo_id == Silo.id)
        .join(Association, Association.cohort_id == Cohort.id)
        .where(
            Association.benchmark_id == benchmark.id,
            Association.state.in_(("requested", "approved")),
            Cohort.state == "registered",
            ~Silo.checks,
        )
    )
    return list(session.scalars(rows).unique())


@dataclass(frozen=True, slots=True)
class _Listed:
    model: Model
    organisation: str
    consent: str
    entry: Entry | None


def _models(session: Session, benchmark: Benchmark) -> list[_Listed]:
    rows = session.execute(
        select(Model, Organisation.name, Association.state, Entry)
        .join(Association, Association.model_digest == Model.digest)
        .join(Organisation, Organisation.id == Model.owner_organisation_id)
        .outerjoin(Entry, (Entry.model_digest == Model.digest) & (Entry.benchmark_id == benchmark.id))
        .where(
            Association.benchmark_id == benchmark.id,
            Association.state.in_(("requested", "approved")),
            Model.state == "accepted",
        )
        .order_by(Association.created, Model.digest)
    )
    return [_Listed(*row) for row in rows]


def _chosen(models: Sequence[_Listed]) -> frozenset[str]:
    approved = sorted(
        (row for row in models if row.consent == "approved"), key=lambda row: (row.model.created, row.model.digest)
    )
    candidates = [
        Candidate(
            row.model.digest,
            row.model.size,
            is_baseline(row.model, row.entry),
            age,
            priority=row.entry.priority if row.entry else 0,
        )
        for age, row in enumerate(approved)
    ]
    return frozenset(candidate.digest for candidate in models_to_evaluate(candidates))


def _row(listed: _Listed, sites: Sequence[Site], chosen: Collection[str]) -> MatrixRow:
    model, entry = listed.model, listed.entry
    missing = "consent-waiting" if listed.consent == "requested" else None
    if missing is None and model.digest not in chosen:
        missing = "block-full"
    return MatrixRow.model_validate(
        {
            "model": model.digest,
            "name": model.card["name"],
            "organisation": listed.organisation,
            "version": model.version,
            "attempt": entry.attempt if entry else None,
            "phase": entry.phase if entry else None,
            "visibility": entry.visibility if entry else "public",
            "priority": entry.priority if entry else 0,
            "baseline": is_baseline(model, entry),
            "cells": tuple(cell(model.digest, site, missing) for site in sites),
        }
    )


def _sites(session: Session, benchmark: Benchmark) -> list[Site]:
    labels = sites_of_benchmark(session, benchmark.name)
    asked = _asked(session, benchmark)
    rows = session.execute(
        select(Cohort, Silo, Association.state)
        .join(Silo, Silo.id == Cohort.silo_id)
        .join(Association, Association.cohort_id == Cohort.id)
        .where(
            Association.benchmark_id == benchmark.id,
            Association.state.in_(("requested", "approved")),
            Cohort.state == "registered",
            ~Silo.checks,
        )
    )
    found = [
        Site(silo.id, labels[silo.id].label, _missing(cohort, silo, state), tuple(asked[cohort.id]))
        for cohort, silo, state in rows
    ]
    return sorted(found, key=lambda site: (len(site.label), site.label))


def _missing(cohort: Cohort, silo: Silo, consent: str) -> str | None:
    if silo.state != "active":
        return "silo-not-active"
    if consent == "requested":
        return "consent-waiting"
    return "too-few-cases" if cohort.test_cases == 0 else None


def _asked(session: Session, benchmark: Benchmark) -> dict[str, list[Asked]]:
    rules = benchmark_rules(benchmark.definition, digest=benchmark.digest)
    rows = session.execute(
        select(Evaluation, Task, EstimateBlockRow)
        .outerjoin(Task, Task.evaluation_id == Evaluation.id)
        .outerjoin(EstimateBlockRow, EstimateBlockRow.evaluation_id == Evaluation.id)
        .where(Evaluation.benchmark_id == benchmark.id, Evaluation.state != "cancelled")
        .order_by(Evaluation.created.desc(), Evaluation.id)
    )
    found: dict[str, list[Asked]] = defaultdict(list)
    for evaluation, task, block in rows:
        found[evaluation.cohort_id].append(
            Asked(
                evaluation_id=evaluation.id,
                models=frozenset(evaluation.models),
                state=evaluation.state,
                code=evaluation.code or (task.code if task else None),
                attempt=evaluation.attempt,
                task_state=task.state if task else None,
                held=task.held if task else False,
                done=task.progress_done if task else 0,
                total=task.progress_total if task else 0,
                result=block.state if block else None,
                reason=block.reason if block else None,
                undefined=_undefined(block.block, rules) if block else None,
            )
        )
    return found


def _undefined(block: Mapping[str, Any], rules: BenchmarkRules) -> str | None:
    """Return why a block has no value of the ranked metric, or None where it has."""
    parts = [part for part in (*block["classes"], *block["structures"]) if part["label"] == rules.ranked_label]
    metrics = [metric for part in parts for metric in part["metrics"] if metric["metric"] == rules.primary.name]
    if any(metric["status"] == "estimated" for metric in metrics):
        return None
    return next((metric["reason"] for metric in metrics if metric["reason"]), "too-few-cases")
