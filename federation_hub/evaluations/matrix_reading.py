"""What the matrix of models and hospitals is made from, read with as many queries however large it is."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.statistics.rules import BenchmarkRules, benchmark_rules
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.service import private_places
from federation_hub.evaluations.cells import Candidate, Hospital, Run
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.leaderboards.labels import PublicSite
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Cohort, Silo


@dataclass(frozen=True, slots=True)
class Member:
    """A hospital of a benchmark version: how it is named, its newest cohort, and what decides its cells."""

    site: PublicSite
    cohort: Cohort
    association: str
    hospital: Hospital
    cases: int | None
    """Cases its accepted result is about."""


def members(session: Session, benchmark: Benchmark) -> list[Member]:
    """Return the hospitals of a benchmark version in the order in which they are named."""
    sites = sites_of_benchmark(session, benchmark.name)
    rows = session.execute(
        select(Cohort, Silo.state, Association.state)
        .join(Silo, Silo.id == Cohort.silo_id)
        .outerjoin(
            Association, (Association.cohort_id == Cohort.id) & (Association.benchmark_id == Cohort.benchmark_id)
        )
        .where(Cohort.benchmark_id == benchmark.id, ~Silo.checks)
        .order_by(Cohort.created)
    )
    # The newest cohort of a hospital speaks for it; a retired one only where there is no other.
    newest: dict[str, tuple[Cohort, str, str | None]] = {}
    for cohort, silo, consent in rows:
        before = newest.get(cohort.silo_id)
        if before is None or cohort.state != "retired" or before[0].state == "retired":
            newest[cohort.silo_id] = (cohort, silo, consent)
    runs, accepted = _runs(session, benchmark), _accepted(session, benchmark)
    rules = benchmark_rules(benchmark.definition, digest=benchmark.digest)
    found = [
        _member(sites[silo_id], cohort, silo, consent or "requested", runs[silo_id], accepted.get(silo_id), rules)
        for silo_id, (cohort, silo, consent) in newest.items()
    ]
    return sorted(found, key=lambda member: (not member.site.named, len(member.site.label), member.site.label))


def candidates(session: Session, benchmark: Benchmark) -> list[tuple[Candidate, str]]:
    """Return the models that asked for a place on a benchmark version, by name."""
    rows = session.execute(
        select(Model, Association.state)
        .join(Association, Association.model_digest == Model.digest)
        .where(Association.benchmark_id == benchmark.id, Model.state.in_(("accepted", "withdrawn")))
        .where(Association.state.in_(("approved", "ended")), Association.id.not_in(private_places()))
    )
    found = [(Candidate(model.digest, model.state, place), str(model.card["name"])) for model, place in rows]
    return sorted(found, key=lambda pair: (pair[1].casefold(), pair[0].digest))


def _member(
    site: PublicSite,
    cohort: Cohort,
    silo: str,
    consent: str,
    runs: Sequence[Run],
    block: tuple[str, Mapping[str, Any]] | None,
    rules: BenchmarkRules,
) -> Member:
    accepted = next((run for run in runs if block is not None and run.id == block[0]), None)
    hospital = Hospital(
        state=silo,
        association=consent,
        cohort=cohort.state,
        test_cases=cohort.test_cases,
        runs=tuple(runs),
        accepted=accepted,
        undefined=_undefined(block[1], rules) if block is not None else None,
    )
    return Member(site, cohort, consent, hospital, block[1]["cases"] if block is not None else None)


def _undefined(block: Mapping[str, Any], rules: BenchmarkRules) -> str | None:
    """Return why a block has no number for the primary metric, or None where it has one."""
    parts = [part for part in (*block["classes"], *block["structures"]) if part["label"] == rules.ranked_label]
    metrics = [metric for part in parts for metric in part["metrics"] if metric["metric"] == rules.primary.name]
    return next((metric["reason"] for metric in metrics if metric["status"] == "undefined"), None)


def _runs(session: Session, benchmark: Benchmark) -> Mapping[str, Sequence[Run]]:
    rows = session.execute(
        select(Evaluation, Task.state, Task.held, Task.progress_done, Task.progress_total, Task.code)
        .outerjoin(Task, Task.evaluation_id == Evaluation.id)
        .where(Evaluation.benchmark_id == benchmark.id)
        .order_by(Evaluation.created.desc(), Evaluation.id)
    )
    found: dict[str, list[Run]] = defaultdict(list)
    for evaluation, state, held, done, total, code in rows:
        models = frozenset(evaluation.models)
        why = evaluation.code or code
        run = Run(evaluation.id, models, evaluation.state, state or "offered", bool(held), done or 0, total or 0, why)
        found[evaluation.silo_id].append(run)
    return found


def _accepted(session: Session, benchmark: Benchmark) -> dict[str, tuple[str, Mapping[str, Any]]]:
    rows = session.execute(
        select(EstimateBlockRow.silo_id, EstimateBlockRow.evaluation_id, EstimateBlockRow.block)
        .where(EstimateBlockRow.benchmark_id == benchmark.id, EstimateBlockRow.state == "accepted")
        .order_by(EstimateBlockRow.received, EstimateBlockRow.digest)
    )
    return {silo_id: (evaluation_id, block) for silo_id, evaluation_id, block in rows}
