"""Where every model stands at every site, and why a cell is empty: a pure rule over what was asked and answered."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Select, Text, case, cast, select, true
from sqlalchemy.orm import Session, defer

from benchmarks.statistics.rules import BenchmarkRules, benchmark_rules
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.tables import Entry
from federation_hub.evaluations.messages import CellState, Matrix, MatrixCell, MatrixRow, MatrixSite
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task, block_text
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.models.tables import Model
from federation_hub.paging import PageQuery, page
from federation_hub.silos.tables import Cohort, Silo
from silo_node.wire.models import Visibility

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

    refused: Mapping[str, str] = field(default_factory=dict)
    """The models the hospital did not run or does not tell of, with the code."""


@dataclass(frozen=True, slots=True)
class Site:
    """A cohort on the benchmark. ``missing`` is why nothing is asked of it at present."""

    silo_id: str
    label: str
    missing: str | None
    asked: tuple[Asked, ...]
    """Newest first, without cancelled ones."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that has its place on a benchmark version, or has asked for it."""

    digest: str
    name: str
    organisation: str
    version: int
    consent: str
    attempt: int | None
    phase: str | None
    visibility: Visibility
    priority: int
    baseline: bool


@dataclass(frozen=True, slots=True)
class Grid:
    """Models by sites; a cell is worked out when somebody looks at it, for there may be a million."""

    sites: tuple[Site, ...]
    models: tuple[Listed, ...]

    def kept(self, sites: Collection[str], models: Collection[str]) -> "Grid":
        """Return the grid of some sites and models, by their ids and digests."""
        return Grid(
            tuple(site for site in self.sites if site.silo_id in sites),
            tuple(model for model in self.models if model.digest in models),
        )

    def rows(self, part: slice) -> tuple[MatrixRow, ...]:
        """Return the rows of some of the models."""
        asked = self._asked()
        return tuple(
            _row(model, [_cell(model.digest, *found) for found in self._found(model, asked)])
            for model in self.models[part]
        )

    def states(self) -> Counter[CellState]:
        """Return how many cells are in each state."""
        asked = self._asked()
        return Counter(_stands(model.digest, *found)[0] for model in self.models for found in self._found(model, asked))

    def _asked(self) -> list[dict[str, list[Asked]]]:
        """Return what was asked of each site by model: looking through all of it for each cell takes too long."""
        every: list[dict[str, list[Asked]]] = []
        for site in self.sites:
            every.append(defaultdict(list))
            for asked in site.asked:
                for model in asked.models:
                    every[-1][model].append(asked)
        return every

    def _found(
        self, model: Listed, asked: Sequence[Mapping[str, Sequence[Asked]]]
    ) -> Iterator[tuple[Sequence[Asked], str | None]]:
        missing = "consent-waiting" if model.consent == "requested" else None
        for site, by_model in zip(self.sites, asked, strict=True):
            yield by_model.get(model.digest, ()), site.missing or missing


def cell(model: str, site: Site, missing: str | None) -> MatrixCell:
    """Return where a model stands at a site; ``missing`` is why the model is asked of no site, if so.

    A result that counts goes first, then one in dispute, then whatever was asked last.
    """
    return _cell(model, [asked for asked in site.asked if model in asked.models], site.missing or missing)


def _cell(model: str, mine: Sequence[Asked], missing: str | None) -> MatrixCell:
    state, code, last = _stands(model, mine, missing)
    if last is None:
        return MatrixCell(state=state, code=code)
    return MatrixCell(
        state=state,
        code=code,
        evaluation_id=last.evaluation_id,
        done=last.done,
        total=last.total,
        attempt=last.attempt,
    )


def _stands(model: str, mine: Sequence[Asked], missing: str | None) -> tuple[CellState, str | None, Asked | None]:
    counted = next((asked for state in ("accepted", "disputed") for asked in mine if asked.result == state), None)
    last = counted or next((asked for asked in mine if asked.result != "superseded"), None)
    if last is None:
        return "waiting" if missing is None else "missing", missing, None
    if model in last.refused:
        return "declined", last.refused[model], last
    return *_state(last), last


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


def matrix(session: Session, benchmark: Benchmark, query: PageQuery) -> Matrix:
    """Return a page of the matrix of a benchmark version as its owner sees it, the models in the order they came."""
    found = page(session, _places(benchmark), query, Association.created, Association.id)
    shown = grid(session, benchmark, [place.model_digest or "" for place in found.rows])
    return Matrix(
        benchmark=benchmark.name,
        benchmark_version=benchmark.version,
        sites=tuple(MatrixSite(label=site.label, silo_id=site.silo_id) for site in shown.sites),
        models=shown.rows(slice(None)),
        next=found.next,
    )


def grid(session: Session, benchmark: Benchmark, models: Collection[str] | None = None) -> Grid:
    """Return where models stand at the sites of a benchmark version: all, or those named by digest."""
    return Grid(tuple(_sites(session, benchmark, models)), tuple(_listed(session, benchmark, models)))


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


def _places(benchmark: Benchmark) -> Select[Association]:
    return (
        select(Association)
        .join(Model, Model.digest == Association.model_digest)
        .where(
            Association.benchmark_id == benchmark.id,
            Association.state.in_(("requested", "approved")),
            Model.state == "accepted",
        )
    )


def _listed(session: Session, benchmark: Benchmark, models: Collection[str] | None) -> list[Listed]:
    # Columns and not whole rows: of a model's card two words are wanted, and there may be thousands of models.
    columns = (
        *(Model.digest, Model.card["name"].as_string(), Organisation.name, Model.version, Association.state),
        *(Entry.attempt, Entry.phase, Entry.visibility, Entry.priority),
        *(Entry.baseline, Model.card["baseline"].as_boolean()),
    )
    wanted = (
        _places(benchmark)
        .join(Organisation, Organisation.id == Model.owner_organisation_id)
        .outerjoin(Entry, (Entry.model_digest == Model.digest) & (Entry.benchmark_id == benchmark.id))
        .with_only_columns(*columns, maintain_column_froms=True)
        .order_by(Association.created, Association.id)
    )
    rows = session.execute(wanted if models is None else wanted.where(Model.digest.in_(models)))
    return [
        Listed(
            *(digest, name, home, version, consent, attempt, phase, visibility or "public", priority or 0),
            baseline=bool(of_card if said is None else said),
        )
        for digest, name, home, version, consent, attempt, phase, visibility, priority, said, of_card in rows
    ]


def _row(model: Listed, cells: Iterable[MatrixCell]) -> MatrixRow:
    return MatrixRow(
        model=model.digest,
        name=model.name,
        organisation=model.organisation,
        version=model.version,
        attempt=model.attempt,
        phase=model.phase,
        visibility=model.visibility,
        priority=model.priority,
        baseline=model.baseline,
        cells=tuple(cells),
    )


def _sites(session: Session, benchmark: Benchmark, models: Collection[str] | None) -> list[Site]:
    labels = sites_of_benchmark(session, benchmark.name)
    asked = _asked(session, benchmark, models)
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


def _asked(session: Session, benchmark: Benchmark, models: Collection[str] | None) -> dict[str, list[Asked]]:
    rules = benchmark_rules(benchmark.definition, digest=benchmark.digest)
    said = block_text()
    # Only a block that has no value somewhere is worth reading for the reason.
    without_value = case((said.contains('"undefined"'), said), else_=None)
    block = EstimateBlockRow
    rows = session.execute(
        select(Evaluation, Task, block.state, block.reason, without_value)
        .outerjoin(Task, Task.evaluation_id == Evaluation.id)
        .outerjoin(block, block.evaluation_id == Evaluation.id)
        .where(Evaluation.benchmark_id == benchmark.id, Evaluation.state != "cancelled", _any_of(models))
        .order_by(Evaluation.created.desc(), Evaluation.id)
        .options(defer(Task.body))
    )
    found: dict[str, list[Asked]] = defaultdict(list)
    for evaluation, task, result, reason, text in rows:
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
                result=result,
                reason=reason,
                undefined=undefined_reason(from_json(text), rules) if text is not None else None,
                refused=evaluation.refused,
            )
        )
    return found


def _any_of(models: Collection[str] | None) -> ColumnElement[bool]:
    """Choose the evaluations of one model in the database; of several, all are read, and those of others unheeded."""
    if models is None or len(models) != 1:
        return true()
    return cast(Evaluation.models, Text).contains(next(iter(models)), autoescape=True)


def undefined_reason(block: Mapping[str, Any], rules: BenchmarkRules) -> str | None:
    """Return why a block has no value of the ranked metric, or None where it has."""
    parts = [part for part in (*block["classes"], *block["structures"]) if part["label"] == rules.ranked_label]
    metrics = [metric for part in parts for metric in part["metrics"] if metric["metric"] == rules.primary.name]
    if any(metric["status"] == "estimated" for metric in metrics):
        return None
    return next((metric["reason"] for metric in metrics if metric["reason"]), "too-few-cases")
