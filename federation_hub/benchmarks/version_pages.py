"""One version of a benchmark: what it asks, of whose patients, how it scores, and every board it has had."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, Response
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.benchmarks.fingerprint import FingerprintAnswer, fingerprint
from federation_hub.benchmarks.service import find, versions
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.members import Member, members
from federation_hub.leaderboards.kept import board_of
from federation_hub.leaderboards.service import WITHOUT_BOARD, latest
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.paging import page as listed
from federation_hub.services import services
from federation_hub.stored import read_stored
from federation_hub.web.data_tables import DataTable, answer
from federation_hub.web.lists import asked_page
from federation_hub.web.rendering import link, page
from federation_hub.web.structured import benchmark_dataset, script
from federation_hub.web.words import arrow, plural, state
from silo_node.web.formats import day, metric_name, minute, score
from silo_node.wire.benchmarks import BenchmarkDefinition, MetricSpec, TransformSpec

blueprint = Blueprint("version_pages", __name__)
BOARDS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class FlowStep:
    """One step of the cohort flow: how many hospitals and cases are left, and how many fell away since."""

    label: str
    hospitals: int
    cases: int | None
    lost: str


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric as the benchmark declares it."""

    name: str
    arrow: str
    decides: bool
    floor: str
    setting: str


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One board this version has had."""

    digest: str
    computed: str
    hospitals: int
    models: int
    standing: bool


@dataclass(frozen=True, slots=True)
class VersionPage:
    """Everything the page of a benchmark version shows."""

    title: str
    eyebrow: str
    summary: str
    provenance: str
    newer: str | None
    retired: bool
    path: str
    board_href: str
    sites_href: str
    definition_href: str
    digest: str
    structured: Markup
    answers: tuple[FingerprintAnswer, ...]
    flow: tuple[FlowStep, ...]
    metrics: tuple[MetricRow, ...]
    steps: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    others: tuple[tuple[int, str, str], ...]
    boards: tuple[BoardRow, ...]
    older_boards: str | None


@blueprint.get("/benchmarks/<name>/<int:version>")
def benchmark_version(name: str, version: int) -> str:
    """Show what one version of a benchmark asks."""
    with services().database.reading() as session:
        return page("benchmark.html", view=_view(session, find(session, name, version)))


@blueprint.get("/benchmarks/<name>/<int:version>/<table>.<any(csv, json):form>")
def version_table(name: str, version: int, table: str, form: str) -> Response:
    """Return one of the tables as data."""
    with services().database.reading() as session:
        return answer(_tables(_view(session, find(session, name, version))), table, form)


def _view(session: Session, row: Benchmark) -> VersionPage:
    definition = read_stored(BenchmarkDefinition, row.definition)
    every = versions(session, row.name)
    path = link("benchmarks", row.name, row.version)
    newest = every[-1].version == row.version
    standing = latest(session, row.name, row.version)
    boards, older = _boards(session, row, standing)
    return VersionPage(
        title=definition.title,
        eyebrow=f"Benchmark {row.name}, version {row.version} · {state(row.state)} since {day(row.created)}",
        summary=definition.summary,
        provenance=definition.provenance,
        newer=None if newest else link("benchmarks", row.name, every[-1].version),
        retired=row.state == "retired",
        path=path,
        board_href=link("benchmarks", row.name) if newest else f"{path}/leaderboard",
        sites_href=link("benchmarks", row.name, "sites"),
        definition_href=f"/api/v1{path}",
        digest=row.digest,
        structured=script(benchmark_dataset(row, definition, standing)),
        answers=fingerprint(definition),
        flow=cohort_flow(members(session, row)),
        metrics=tuple(_metric(metric) for metric in definition.metrics),
        steps=tuple((step.name, _arguments(step)) for step in definition.preparation),
        facts=_facts(definition),
        others=tuple((other.version, state(other.state), day(other.created)) for other in every if other is not row),
        boards=tuple(boards),
        older_boards=older,
    )


def cohort_flow(every: Sequence[Member]) -> tuple[FlowStep, ...]:
    """Return how many hospitals and test cases are left at each step from registering to being counted."""
    approved = [member for member in every if member.association == "approved" and member.cohort.state == "registered"]
    testing = [member for member in approved if member.cohort.test_cases]
    answered = [member for member in testing if member.answered]
    estimated = [member for member in answered if member.undefined is None]
    steps = (
        ("registered a cohort", every, ""),
        ("take part", approved, "waiting, declined, ended or retired"),
        ("hold test cases", testing, "without test cases"),
        ("have sent a signed result", answered, "asked and not yet answered"),
        ("count in the ranking", estimated, "with too few cases of a class to tell"),
    )
    found, before = [], len(every)
    for label, left, why in steps:
        lost = before - len(left)
        # Cases of one or two hospitals would be theirs to tell.
        cases = sum(member.cohort.test_cases for member in left) if len(left) > 2 else None
        found.append(FlowStep(label, len(left), cases, f"{lost} {why}" if lost else ""))
        before = len(left)
    return tuple(found)


def _metric(metric: MetricSpec) -> MetricRow:
    bound = "at least" if metric.direction == "higher" else "at most"
    settings = [("tolerance", metric.tolerance_mm), ("capped at", metric.cap_mm)]
    return MetricRow(
        name=metric_name(metric.name),
        arrow=arrow(metric.name),
        decides=metric.primary,
        floor=f"{bound} {score(metric.floor)}" if metric.floor is not None else "none",
        setting=", ".join(f"{name} {value:g} mm" for name, value in settings if value is not None) or "none",
    )


def _arguments(step: TransformSpec) -> str:
    return ", ".join(f"{name}={value}" for name, value in step.args.items())


def _facts(definition: BenchmarkDefinition) -> tuple[tuple[str, str], ...]:
    limits, split = definition.disclosure, definition.split
    return (
        ("Data", definition.data_source),
        ("Licence of the data", definition.licence),
        (
            "Patients are divided",
            f"{split.test:.0%} for the test, {split.validation:.0%} to validate, the rest to train",
        ),
        (
            "What is never told",
            f"anything of a class under {plural(limits.minimum_class, 'case')}, a count under {limits.minimum_cell}, "
            f"or a result from fewer than {plural(limits.minimum_sites, 'hospital')}",
        ),
        ("Models join", "at once" if definition.auto_approve_models else "when its owner says yes"),
        ("Cohorts join", "at once" if definition.auto_approve_cohorts else "when its owner says yes"),
    )


def _boards(session: Session, row: Benchmark, standing: Snapshot | None) -> tuple[list[BoardRow], str | None]:
    """Return a page of a version's boards, the one that stands before all others, and where the next page begins."""
    query = asked_page(BOARDS_SHOWN)
    earlier = (
        select(Snapshot)
        .where(Snapshot.benchmark_id == row.id, Snapshot.superseded_by.is_not(None))
        .options(*WITHOUT_BOARD)
    )
    found = listed(session, earlier, query, Snapshot.created, Snapshot.digest, newest_first=True)
    first = [standing] if standing is not None and query.cursor is None else []
    return [_board(snapshot) for snapshot in (*first, *found.rows)], found.next


def _board(snapshot: Snapshot) -> BoardRow:
    board = board_of(snapshot)
    standing = snapshot.superseded_by is None
    return BoardRow(snapshot.digest, minute(snapshot.created), board.site_count, len(board.entries), standing)


def _tables(view: VersionPage) -> tuple[DataTable, ...]:
    flow = tuple((step.label, step.hospitals, step.cases, step.lost) for step in view.flow)
    boards = tuple((row.digest, row.computed, row.hospitals, row.models, row.standing) for row in view.boards)
    metrics = tuple((row.name, row.arrow, row.decides, row.floor, row.setting) for row in view.metrics)
    return (
        DataTable("flow", "From registered cohorts to counted results", ("step", "hospitals", "cases", "lost"), flow),
        DataTable("metrics", "Metrics", ("metric", "better", "decides_the_rank", "floor", "setting"), metrics),
        DataTable("boards", "Boards", ("snapshot", "computed", "hospitals", "models", "standing"), boards),
    )
