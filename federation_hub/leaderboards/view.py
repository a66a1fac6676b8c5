"""From a board and a query to what the leaderboard's template prints: rows with their drawings, groups, links."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from federation_hub.leaderboards.board import Board, Comparison, Entry, Waiting
from federation_hub.leaderboards.columns import DEFAULT, SORTS, ColumnSpec, columns_of, natural_order
from federation_hub.leaderboards.query import KINDS, ROWS_A_PAGE, BoardQuery, select
from federation_hub.leaderboards.verdict import Answer, verdict
from federation_hub.web.axes import Axis, nice_axis
from federation_hub.web.charts import SiteMark, axis_plot, interval_plot, rank_plot, share_bar
from federation_hub.web.words import METRIC_BOUNDS
from silo_node.web.formats import chance, metric_name, score

PAIRS_SHOWN = 30
WAITING_SHOWN = 50
SITES_SHOWN = 10
"""So many hospitals have a column of their own on the page; the data have all."""

MARKS_SHOWN = 12
KIND_WORDS = {
    "all": "All models",
    "submitted": "Submitted models",
    "federated": "Trained in a federation",
    "baseline": "Baselines",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column head: its label, the address that sorts by it (if any), its ``aria-sort`` where it sorts now."""

    spec: ColumnSpec
    href: str | None
    sorted: str | None

    @property
    def key(self) -> str:
        return self.spec.key

    @property
    def label(self) -> str:
        return self.spec.label


@dataclass(frozen=True, slots=True)
class Choice:
    """A column a reader may choose or leave out."""

    key: str
    label: str
    shown: bool


@dataclass(frozen=True, slots=True)
class Row:
    """An entry with its drawings."""

    entry: Entry
    plot: Markup
    ranks: Markup
    chance: Markup


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that follow each other and share a tie group; ``size`` is how many the whole board has in it."""

    rows: tuple[Row, ...]
    size: int
    note: str


@dataclass(frozen=True, slots=True)
class BoardView:
    """Everything a leaderboard page shows that comes from the board itself."""

    board: Board
    answers: tuple[Answer, ...]
    axis: Markup
    columns: tuple[Column, ...]
    choices: tuple[Choice, ...]
    sorts: tuple[tuple[str, str], ...]
    groups: tuple[Group, ...]
    query: BoardQuery
    path: str
    found: int
    pages: int
    pairs: tuple[Comparison, ...]
    sites: tuple[str, ...]
    """The hospitals that have a column of their own."""

    subgroups: tuple[str, ...]
    waiting: tuple[Waiting, ...]
    """Of those without numbers, as many as a page names."""

    kinds: tuple[tuple[str, str], ...] = tuple((kind, KIND_WORDS[kind]) for kind in KINDS)

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for group in self.groups for row in group.rows)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics beside the primary one."""
        return tuple(self.board.entries[0].metrics) if self.board.entries else ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes or structures the ranked number is a mean over."""
        return tuple(self.board.entries[0].labels) if self.board.entries else ()

    @property
    def filtered(self) -> bool:
        return self.query.kind != "all" or bool(self.query.text) or self.query.columns != DEFAULT

    def page_link(self, page: int) -> str:
        return self.query.link(self.path, page=page)


def board_view(board: Board, query: BoardQuery, path: str) -> BoardView:
    """Return the page of a board that a query asks for."""
    specs = columns_of(board)
    query = _heeded(query, specs)
    entries = select(board, query)
    pages = max(1, -(-len(entries) // ROWS_A_PAGE))
    page = min(query.page, pages)
    shown = entries[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE]
    axis = board_axis(board)
    columns = tuple(_column(board, query, path, spec) for spec in specs if not spec.chosen or spec.key in query.columns)
    return BoardView(
        board=board,
        answers=verdict(board),
        axis=axis_plot(axis, better=board.direction, metric=metric_name(board.metric)),
        columns=columns,
        choices=tuple(Choice(spec.key, spec.label, spec.key in query.columns) for spec in specs if spec.chosen),
        sorts=tuple((spec.key, spec.label) for spec in specs if spec.key in SORTS),
        groups=tuple(_groups(board, shown, axis, tied=query.sort == "rank")),
        query=replace(query, page=page),
        path=path,
        found=len(entries),
        pages=pages,
        pairs=board.comparisons[:PAIRS_SHOWN],
        sites=sites_shown(board, shown),
        subgroups=tuple(dict.fromkeys(name for entry in board.entries for name in entry.subgroups)),
        waiting=board.waiting[:WAITING_SHOWN],
    )


def _heeded(query: BoardQuery, specs: Sequence[ColumnSpec]) -> BoardQuery:
    """Return the query without the columns this board has not, and with a word about them."""
    known = {spec.key for spec in specs}
    columns = tuple(key for key in query.columns if key in known)
    sort = query.sort if query.sort in known else "rank"
    unheeded = [name for name, kept in (("columns", columns), ("sort", sort)) if kept != getattr(query, name)]
    ignored = {*query.ignored, *unheeded}
    return replace(query, columns=columns, sort=sort, ignored=tuple(sorted(ignored)))


def sites_shown(board: Board, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the hospitals that get a column: all where they are few, else those where the most models are weakest."""
    if len(board.sites) <= SITES_SHOWN:
        return board.sites
    weakest = [entry.worst.site for entry in entries if entry.worst is not None]
    ordered = sorted(board.sites, key=lambda site: (-weakest.count(site), board.sites.index(site)))[:SITES_SHOWN]
    return tuple(site for site in board.sites if site in ordered)


def board_axis(board: Board) -> Axis:
    """Return the one axis of all rows: it holds every interval, every public site and the floor."""
    values: list[float | None] = [board.floor]
    for entry in board.entries:
        values += [entry.estimate.value, entry.estimate.low, entry.estimate.high]
        # Looking at every cell of a large board takes longer than all else on its page.
        values += entry.reach if entry.reach is not None else [site.estimate.value for site in entry.sites]
    lowest, highest = METRIC_BOUNDS.get(board.metric, (None, None))
    return nice_axis(values, lowest=lowest, highest=highest, ticks=7)


def _column(board: Board, query: BoardQuery, path: str, spec: ColumnSpec) -> Column:
    if spec.key not in SORTS:
        return Column(spec, None, None)
    active, natural = query.sort == spec.key, natural_order(spec.key, board)
    order = query.order or natural
    turned = "asc" if order == "desc" else "desc"
    wanted = turned if active else natural
    return Column(
        spec=spec,
        href=query.link(path, sort=spec.key, order=None if wanted == natural else wanted),
        sorted={"asc": "ascending", "desc": "descending"}[order] if active else None,
    )


def _groups(board: Board, entries: Iterable[Entry], axis: Axis, *, tied: bool) -> Iterable[Group]:
    sizes = Counter(entry.group for entry in board.entries)
    if not tied or not board.ranked:
        rows = tuple(draw(board, entry, axis) for entry in entries)
        return [Group(rows, 1, "")] if rows else []
    return [
        Group(tuple(draw(board, entry, axis) for entry in members), sizes[group], _tie_note(group, sizes[group]))
        for group, members in groupby(entries, key=lambda entry: entry.group)
    ]


def _tie_note(group: int, size: int) -> str:
    if size == 1:
        return ""
    tied = "Tied for first" if group == 1 else "Tied"
    return f"{tied}: the data cannot say which of these {size} models is better at hospitals in general"


def draw(board: Board, entry: Entry, axis: Axis, *, sites: bool = True) -> Row:
    """Return an entry with its drawings on a board's axis, with or without a mark for each public site."""
    low, high = entry.drawn_ranks or (1, len(board.entries))
    return Row(
        entry=entry,
        plot=interval_plot(
            axis,
            estimate=entry.estimate.value,
            interval=entry.estimate.interval,
            prediction=entry.prediction if sites else None,
            sites=_marks(entry) if sites else (),
            floor=board.floor if sites else None,
            better=board.direction,
            title=f"{entry.name}: {metric_name(board.metric)}",
            description=_description(entry),
        ),
        ranks=rank_plot(
            len(board.entries),
            low=low,
            high=high,
            rank=entry.rank,
            title=f"Ranks of {entry.name}",
            description=f"From {low} to {high} of {len(board.entries)} in 95% of the draws.",
        ),
        chance=share_bar(entry.first or 0.0, title=f"Probability of ranking first: {chance(entry.first)}"),
    )


def _marks(entry: Entry) -> list[SiteMark]:
    """Return a mark for each hospital; where they are very many, the worst and others spread evenly over the range."""
    known = [site for site in entry.sites if site.estimate.value is not None]
    known.sort(key=lambda site: site.estimate.value or 0.0)
    stride = -(-len(known) // MARKS_SHOWN) or 1
    kept = [site for place, site in enumerate(known) if place % stride == 0 or site.worst or place == len(known) - 1]
    return [SiteMark(initial(site.site), site.estimate.value or 0.0, site.worst) for site in kept]


def initial(site: str) -> str:
    """Return the letters that mark a site in a drawing: ``C`` of ``Site C``, ``NH`` of ``North Hospital``."""
    words = site.removeprefix("Site ").split()
    return words[0][:2] if len(words) == 1 else "".join(word[0] for word in words[:3])


def _description(entry: Entry) -> str:
    parts = [f"Estimate {score(entry.estimate.value)}"]
    if entry.estimate.interval is not None:
        parts.append(f"95% interval {score(entry.estimate.low)} to {score(entry.estimate.high)}")
    if entry.prediction is not None:
        parts.append(f"at a new hospital {score(entry.prediction[0])} to {score(entry.prediction[1])}")
    told = [site for site in entry.sites if site.estimate.value is not None]
    if len(told) > MARKS_SHOWN:
        parts.append(f"{len(told)} hospitals")
        told = [site for site in told if site.worst]
    parts += [f"{site.site} {score(site.estimate.value)}" for site in told]
    return "; ".join(parts) + "."
