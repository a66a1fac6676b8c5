"""From a board and a query to what the leaderboard's template prints: rows with their drawings, groups, links."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from federation_hub.leaderboards.board import Board, Comparison, Entry, SiteValue
from federation_hub.leaderboards.query import KINDS, ROWS_A_PAGE, BoardQuery, Sort, natural_order, select
from federation_hub.leaderboards.verdict import Answer, verdict
from federation_hub.web.axes import Axis, nice_axis
from federation_hub.web.charts import SiteMark, axis_plot, interval_plot, rank_plot, share_bar
from federation_hub.web.words import METRIC_BOUNDS, metric_name
from silo_node.web.formats import chance, score

PAIRS_SHOWN = 30
SITES_SHOWN = 10
"""Columns of the table of hospitals; a page must stay light, and the JSON has all."""

MARKS_SHOWN = 12
COLUMNS: tuple[tuple[Sort, str], ...] = (
    ("rank", "Rank"),
    ("model", "Model"),
    ("score", ""),
    ("best", "P(best)"),
    ("worst", "Worst hospital"),
    ("cases", "Data"),
)
KIND_WORDS = {
    "all": "All models",
    "submitted": "Submitted models",
    "federated": "Trained in a federation",
    "baseline": "Baselines",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column head: its label, the address that sorts by it, and its ``aria-sort`` where it sorts now."""

    key: Sort
    label: str
    href: str
    sorted: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """An entry with its drawings."""

    entry: Entry
    plot: Markup
    ranks: Markup
    chance: Markup
    sites: tuple[SiteValue, ...] = ()
    """Its values at the sites that have a column on the page."""


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
    groups: tuple[Group, ...]
    query: BoardQuery
    path: str
    found: int
    pages: int
    pairs: tuple[Comparison, ...]
    sites: tuple[str, ...] = ()
    """The sites that have a column on the page: all, or on a large board those where its models are weakest."""

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
    def subgroups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for entry in self.board.entries for name in entry.subgroups))

    @property
    def filtered(self) -> bool:
        return self.query.kind != "all" or bool(self.query.text)

    def page_link(self, page: int) -> str:
        return self.query.link(self.path, page=page)


def board_view(board: Board, query: BoardQuery, path: str) -> BoardView:
    """Return the page of a board that a query asks for."""
    entries = select(board, query)
    pages = max(1, -(-len(entries) // ROWS_A_PAGE))
    page = min(query.page, pages)
    shown = entries[(page - 1) * ROWS_A_PAGE : page * ROWS_A_PAGE]
    axis, places = board_axis(board), _site_places(board, shown)
    return BoardView(
        board=board,
        answers=verdict(board),
        axis=axis_plot(axis, better=board.direction, metric=metric_name(board.metric)),
        columns=tuple(_column(board, query, path, key, label) for key, label in COLUMNS),
        groups=tuple(_groups(board, shown, axis, places, tied=query.sort == "rank")),
        query=BoardQuery(query.sort, query.order, query.kind, query.text, page),
        path=path,
        found=len(entries),
        pages=pages,
        pairs=board.comparisons[:PAIRS_SHOWN],
        sites=tuple(board.sites[place] for place in places),
    )


def board_axis(board: Board) -> Axis:
    """Return the one axis of all rows: it holds every interval, every public site and the floor."""
    values: list[float | None] = [board.floor]
    for entry in board.entries:
        values += [entry.estimate.value, entry.estimate.low, entry.estimate.high]
        values += entry.reach or [site.estimate.value for site in entry.sites]
    lowest, highest = METRIC_BOUNDS.get(board.metric, (None, None))
    return nice_axis(values, lowest=lowest, highest=highest, ticks=7)


def _column(board: Board, query: BoardQuery, path: str, key: Sort, label: str) -> Column:
    active = query.sort == key
    order = query.order or natural_order(key, board)
    turned = "asc" if order == "desc" else "desc"
    wanted = turned if active else natural_order(key, board)
    return Column(
        key=key,
        label=label or f"{metric_name(board.metric)} {'↑' if board.direction == 'higher' else '↓'}",
        href=query.link(path, sort=key, order=None if wanted == natural_order(key, board) else wanted),
        sorted={"asc": "ascending", "desc": "descending"}[order] if active else None,
    )


def _groups(
    board: Board, entries: Sequence[Entry], axis: Axis, places: Sequence[int], *, tied: bool
) -> Iterable[Group]:
    sizes = Counter(entry.group for entry in board.entries)
    rows = [_row(board, entry, axis, places) for entry in entries]
    if not tied or not board.ranked:
        return [Group(tuple(rows), 1, "")] if rows else []
    return [
        Group(tuple(members), sizes[group], _tie_note(group, sizes[group]))
        for group, members in groupby(rows, key=lambda row: row.entry.group)
    ]


def _row(board: Board, entry: Entry, axis: Axis, places: Sequence[int]) -> Row:
    sites = tuple(entry.sites[place] for place in places)
    return replace(draw(board, entry, axis), sites=sites)


def _site_places(board: Board, shown: Sequence[Entry]) -> tuple[int, ...]:
    """Return which sites get a column: on a large board those where most of the models shown are weakest."""
    if len(board.sites) <= SITES_SHOWN:
        return tuple(range(len(board.sites)))
    place = {site: index for index, site in enumerate(board.sites)}
    weakest = Counter(entry.worst.site for entry in shown if entry.worst is not None and entry.worst.site in place)
    first = [place[site] for site, _ in weakest.most_common(SITES_SHOWN)]
    rest = [index for index in range(len(board.sites)) if index not in first]
    return tuple(sorted([*first, *rest][:SITES_SHOWN]))


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
    return [SiteMark(initial(site.site), site.estimate.value or 0.0, site.worst) for site in _drawn(entry)]


def _drawn(entry: Entry) -> list[SiteValue]:
    """The sites a row draws: all, or of many the best, the weakest and some evenly between them."""
    sites = [site for site in entry.sites if site.estimate.value is not None]
    if len(sites) <= MARKS_SHOWN:
        return sites
    ordered = sorted(sites, key=lambda site: site.estimate.value or 0.0)
    stride = (len(ordered) - 1) / (MARKS_SHOWN - 1)
    return [ordered[round(step * stride)] for step in range(MARKS_SHOWN)]


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
    parts += [f"{site.site} {score(site.estimate.value)}" for site in _drawn(entry)]
    return "; ".join(parts) + "."
