"""Two models of a board side by side: which is better, how sure that is, and at which hospitals it turns round."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from flask import Blueprint, Response, request
from markupsafe import Markup
from pydantic_core import from_json
from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.statistics.blocks import SiteBlock, site_block
from benchmarks.statistics.rules import benchmark_rules
from federation_hub.benchmarks.service import find
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.tables import EstimateBlockRow, block_text
from federation_hub.leaderboards.board import Board, Comparison, Entry, Estimate
from federation_hub.leaderboards.comparison import Paired, paired
from federation_hub.leaderboards.exports import INTERVAL, interval
from federation_hub.leaderboards.kept import board_of
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.leaderboards.query import OTHERS, parse_query
from federation_hub.leaderboards.service import latest
from federation_hub.leaderboards.verdict import Answer
from federation_hub.services import services
from federation_hub.web.axes import Axis, nice_axis
from federation_hub.web.charts import axis_plot, interval_plot
from federation_hub.web.data_tables import DataTable, answer
from federation_hub.web.rendering import link, page
from federation_hub.web.words import arrow, joined, plural
from silo_node.web.formats import chance, metric_name, p_value, score, signed
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("compare_pages", __name__)
SIDES = ("a", "b")
SEARCH = "q"
CHOICES_SHOWN = 100
"""So many models can be chosen from at once; a text finds others."""


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """One line of the forest plot: a hospital, or all of them pooled."""

    label: str
    difference: Estimate
    plot: Markup
    leader: str
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One line of the table of everything else: a name and what stands under each model."""

    label: str
    first: Estimate | str
    second: Estimate | str


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Everything a comparison shows."""

    title: str
    metric: str
    provenance: str
    path: str
    board_href: str
    suffix: str
    choices: tuple[tuple[str, str], ...]
    text: str
    """What was asked for in the names of the models to choose from."""

    models: int
    a: Entry | None
    b: Entry | None
    ignored: tuple[str, ...]
    answers: tuple[Answer, ...] = ()
    axis: Markup | None = None
    rows: tuple[DifferenceRow, ...] = ()
    beside: tuple[SideBySide, ...] = ()
    waiting: str = ""


@blueprint.get("/benchmarks/<name>/compare")
def compare(name: str) -> str:
    """Compare two models of the standing board; without a choice, its first two."""
    with services().database.reading() as session:
        row = find(session, name)
        return page("compare.html", view=_view(session, row, request.args))


@blueprint.get("/benchmarks/<name>/compare/<table>.<any(csv, json):form>")
def compare_table(name: str, table: str, form: str) -> Response:
    """Return one table of a comparison as data."""
    with services().database.reading() as session:
        view = _view(session, find(session, name), request.args)
    if set(view.ignored) & set(SIDES):
        raise MedSiloError("model-unknown")
    return answer(_tables(view), table, form)


def _view(session: Session, row: Benchmark, arguments: Mapping[str, str]) -> ComparePage:
    snapshot = latest(session, row.name, row.version)
    board = board_of(snapshot) if snapshot is not None else None
    entries = {entry.digest: entry for entry in board.entries} if board is not None else {}
    a, b, ignored = chosen(tuple(entries), arguments)
    text = parse_query({"q": arguments.get(SEARCH, "")}).text
    view = ComparePage(
        title=row.definition["title"],
        metric=board.metric if board is not None else "",
        provenance=row.definition["provenance"],
        path=link("benchmarks", row.name, "compare"),
        board_href=link("benchmarks", row.name),
        suffix=f"?a={a}&b={b}",
        choices=_choices(tuple(entries.values()), text, {a, b}),
        text=text,
        models=len(entries),
        a=entries.get(a or ""),
        b=entries.get(b or ""),
        ignored=ignored,
    )
    if board is None or view.a is None or view.b is None:
        return replace(view, waiting="There are not yet two ranked models to compare.")
    if view.a is view.b:
        return replace(view, waiting="That is one model twice. Choose another for one side.")
    found = _paired(session, row, board, view.a, view.b)
    listed = next((pair for pair in board.comparisons if set(pair.digests) == {a, b}), None)
    rows = tuple(_rows(board, view.a, view.b, found))
    return replace(
        view,
        answers=_answers(board, view.a, view.b, found, listed),
        axis=_axis(board, found),
        rows=rows,
        beside=tuple(_beside(board, view.a, view.b)),
        waiting="" if rows else "Too few hospitals have reported both to tell of their difference.",
    )


def chosen(known: Sequence[str], arguments: Mapping[str, str]) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Return the two models asked for, or the board's first ones, and the parameters that were not understood."""
    ignored = [side for side in SIDES if arguments.get(side) and arguments[side] not in known]
    asked = [arguments[side] if arguments.get(side) in known else None for side in SIDES]
    spare = [digest for digest in known if digest not in asked]
    a, b = (digest or (spare.pop(0) if spare else None) for digest in asked)
    if set(arguments) - {*SIDES, SEARCH}:
        ignored.append(OTHERS)
    return a, b, tuple(ignored)


def _choices(entries: Sequence[Entry], text: str, taken: Collection[str | None]) -> tuple[tuple[str, str], ...]:
    """Return the models to choose from: of very many the first that have the text, and always those compared now."""
    sought = text.casefold()
    fitting = [entry for entry in entries if sought in f"{entry.name} {entry.owner}".casefold()][:CHOICES_SHOWN]
    offered = {entry.digest for entry in fitting} | set(taken)
    return tuple((entry.digest, entry.name) for entry in entries if entry.digest in offered)


def _paired(session: Session, row: Benchmark, board: Board, a: Entry, b: Entry) -> Paired:
    named = {site.label for site in sites_of_benchmark(session, row.name).values() if site.shown and site.named}
    rules = benchmark_rules(row.definition, digest=row.digest)
    blocks = _blocks(session, board.blocks, a.digest, b.digest)
    return paired(rules, blocks, a.digest, b.digest, shown=board.sites, named=named)


def _blocks(session: Session, labels: Mapping[str, str], *models: str) -> list[SiteBlock]:
    """Return the blocks of a snapshot that speak of any of these models, under the labels of their hospitals."""
    rows = session.execute(select(EstimateBlockRow.digest, block_text()).where(EstimateBlockRow.digest.in_(labels)))
    return [
        replace(site_block(from_json(text), digest=digest), site=labels[digest])
        for digest, text in rows
        if any(model in text for model in models)
    ]


def _answers(board: Board, a: Entry, b: Entry, found: Paired, listed: Comparison | None) -> tuple[Answer, ...]:
    if found.difference.value is None or found.ahead is None:
        return ()
    better = _better(board, found.difference.value)
    leader, other = (a, b) if better >= 0 else (b, a)
    low, high = found.difference.interval or (0.0, 0.0)
    apart = listed.apart if listed is not None else low * high > 0
    best = f"{leader.name} is better" if apart else "They cannot be told apart"
    ahead = found.ahead if leader is a else 1 - found.ahead
    return (
        Answer("Which is better", best, (_difference(board, a, b, found, listed),)),
        Answer(
            "How sure",
            chance(ahead),
            (f"is the chance that {leader.name} is ahead of {other.name} at these very hospitals.",),
            figure=True,
        ),
        _turning(board, leader, other, found, better),
    )


def _difference(board: Board, a: Entry, b: Entry, found: Paired, listed: Comparison | None) -> str:
    value = found.difference
    where = "at hospitals in general" if found.sites >= 3 else "at these hospitals"
    text = (
        f"{metric_name(board.metric)} of {a.name} less that of {b.name}, {where}: {signed(value.value)} "
        f"(95% interval {signed(value.low)} to {signed(value.high)})."
    )
    p = listed.p_adjusted if listed is not None else None
    return text if p is None else f"{text} p = {p_value(p)}, adjusted for all pairs of the board."


def _turning(board: Board, leader: Entry, other: Entry, found: Paired, better: float) -> Answer:
    if not found.at:
        return Answer("Where it turns", "Not shown", ("Results of single hospitals are not public on this board.",))
    sign = 1 if better >= 0 else -1
    turned = [at for at in found.at if sign * _better(board, at.difference.value or 0.0) < 0]
    count = f"{leader.name} is ahead at {len(found.at) - len(turned)} of {plural(len(found.at), 'hospital')}."
    if not turned:
        return Answer("Where it turns", "Nowhere", (count,))
    notes = tuple(f"{other.name} is ahead by {score(abs(at.difference.value or 0.0))} at {at.site}." for at in turned)
    return Answer("Where it turns", joined([at.site for at in turned]), (count, *notes[:3]))


def _better(board: Board, difference: float) -> float:
    return difference if board.direction == "higher" else -difference


def _axis(board: Board, found: Paired) -> Markup:
    return axis_plot(_scale(found), better=board.direction, metric=f"difference in {metric_name(board.metric)}")


def _scale(found: Paired) -> Axis:
    parts = [found.difference, *(at.difference for at in found.at)]
    return nice_axis([0.0, *(value for part in parts for value in (part.value, part.low, part.high))], ticks=7)


def _rows(board: Board, a: Entry, b: Entry, found: Paired) -> list[DifferenceRow]:
    if found.difference.value is None:
        return []
    axis = _scale(found)

    def row(label: str, difference: Estimate, *, pooled: bool = False) -> DifferenceRow:
        better = _better(board, difference.value or 0.0)
        sure = difference.low is not None and difference.high is not None and difference.low * difference.high > 0
        leader = a.name if better >= 0 else b.name
        plot = interval_plot(
            axis,
            estimate=difference.value,
            interval=difference.interval,
            floor=0.0,
            better=board.direction,
            title=f"Difference in {metric_name(board.metric)}: {label}",
            description=f"{signed(difference.value)}, from {signed(difference.low)} to {signed(difference.high)}.",
        )
        return DifferenceRow(label, difference, plot, leader if sure else "not told apart", pooled)

    rows = [row(at.site, at.difference) for at in found.at]
    return [*rows, row(f"All {plural(found.sites, 'hospital')}", found.difference, pooled=True)]


def _beside(board: Board, a: Entry, b: Entry) -> list[SideBySide]:
    def texts(label: str, first: str, second: str) -> SideBySide:
        return SideBySide(label, first, second)

    rows = [
        texts(f"Rank of {len(board.entries)}", a.rank_text, b.rank_text),
        SideBySide(f"{metric_name(board.metric)} {arrow(board.metric)}", a.estimate, b.estimate),
        texts("P(best)", chance(a.first), chance(b.first)),
        texts("Worst hospital", _worst(a), _worst(b)),
        SideBySide("Every case the same", a.case_weighted, b.case_weighted),
    ]
    for name in a.metrics:
        rows.append(SideBySide(f"{metric_name(name)} {arrow(name)}", a.metrics[name], _other(b.metrics, name)))
    for kind in (("labels", "Label"), ("subgroups", "Group")):
        mine, theirs = getattr(a, kind[0]), getattr(b, kind[0])
        rows += [SideBySide(f"{kind[1]} {name}", estimate, _other(theirs, name)) for name, estimate in mine.items()]
    return rows


def _other(estimates: Mapping[str, Estimate], name: str) -> Estimate:
    return estimates.get(name, Estimate(None))


def _worst(entry: Entry) -> str:
    return f"{entry.worst.site}: {score(entry.worst.estimate.value)}" if entry.worst else "not public"


def _tables(view: ComparePage) -> tuple[DataTable, ...]:
    hospitals = tuple((row.label, *interval(row.difference), row.pooled) for row in view.rows)
    beside = tuple((row.label, *_cells(row.first), *_cells(row.second)) for row in view.beside)
    columns = ("what", *(f"{side}_{name}" for side in SIDES for name in ("text", *INTERVAL)))
    return (
        DataTable("hospitals", "Difference at each hospital, a minus b", ("hospital", *INTERVAL, "pooled"), hospitals),
        DataTable("metrics", "The two models side by side", columns, beside),
    )


def _cells(value: Estimate | str) -> tuple[str | float | None, ...]:
    return (value, None, None, None) if isinstance(value, str) else (None, *interval(value))
