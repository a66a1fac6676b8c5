"""From a board to its figures, each with the numbers it was drawn from as a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from federation_hub.leaderboards.board import Board, Entry
from federation_hub.web.figures import (
    Band,
    ForestRow,
    RankRow,
    blob_plot,
    curve_plot,
    forest_plot,
    significance_grid,
    stability_plot,
)
from federation_hub.web.words import METRIC_BOUNDS, rule_name
from silo_node.web.formats import metric_name, score, share

MODELS_SHOWN = 30
LEADERS_SHOWN = 3
_ALL = "All hospitals"
Curves = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its heading, what it says in a sentence, and its numbers as a table."""

    anchor: str
    heading: str
    sentence: str
    drawing: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figures_view(board: Board, *, curves: Callable[[str], Curves]) -> tuple[Figure, ...]:
    """Return the figures of a board; ``curves`` gives a model's curves by its digest."""
    shown = board.entries[:MODELS_SHOWN]
    found = [*_blobs(board, shown), *_grid(board, shown), *_stability(board, shown)]
    for entry in shown[:LEADERS_SHOWN]:
        found += [*_forest(board, entry), *_curves(entry, curves(entry.digest)["classes"])]
    return tuple(found)


def _blobs(board: Board, shown: Sequence[Entry]) -> list[Figure]:
    rows, cells = [], []
    for entry in shown:
        if entry.rank_draws is None or entry.drawn_ranks is None:
            continue
        first, counts = entry.rank_draws
        shares = tuple(count / sum(counts) for count in counts)
        rows.append(RankRow(entry.name, first, shares, *entry.drawn_ranks))
        by_rank = {first + step: part for step, part in enumerate(shares)}
        cells.append((entry.name, *(share(by_rank.get(rank + 1, 0.0)) for rank in range(len(shown)))))
    if not rows:
        return []
    return [
        Figure(
            "blob",
            "How often each model had each rank",
            "Ten thousand boards were drawn from what these hospitals reported. The larger a blob, the more of them "
            "gave the model that rank; the line holds 95%.",
            blob_plot(rows, title="Blob plot of ranks"),
            ("Model", *(f"Rank {rank + 1}" for rank in range(len(shown)))),
            tuple(cells),
        )
    ]


def _grid(board: Board, shown: Sequence[Entry]) -> list[Figure]:
    sign = 1 if board.direction == "higher" else -1
    place = {entry.digest: index for index, entry in enumerate(shown)}
    ahead: list[list[bool | None]] = [[None] * len(shown) for _ in shown]
    for pair in board.comparisons:
        if pair.digests[0] in place and pair.digests[1] in place:
            first, second = (place[digest] for digest in pair.digests)
            better = sign * (pair.difference.value or 0.0) > 0
            ahead[first][second], ahead[second][first] = pair.apart and better, pair.apart and not better
    if len(shown) < 2:
        return []
    names = [entry.name for entry in shown]
    return [
        Figure(
            "significance",
            "Which differences are sure",
            "A filled cell: the model of the row is better than that of the column at hospitals in general, with "
            "Holm's adjustment for all pairs. A ring: the data cannot say. Empty: surely worse, or not compared.",
            significance_grid(names, ahead, title="Significance grid"),
            ("Model", *(str(index + 1) for index in range(len(names)))),
            tuple(
                (f"{index + 1} {name}", *(_cell(ahead, index, other) for other in range(len(names))))
                for index, name in enumerate(names)
            ),
        )
    ]


def _cell(ahead: Sequence[Sequence[bool | None]], row: int, column: int) -> str:
    if ahead[row][column] is None:
        return "–"
    return "better" if ahead[row][column] else "worse" if ahead[column][row] else "not told apart"


def _stability(board: Board, shown: Sequence[Entry]) -> list[Figure]:
    ranked = [entry for entry in shown if any(rank is not None for rank in entry.rule_ranks)]
    if not ranked or len(board.rules) < 2:
        return []
    rules = [rule_name(rule) for rule in board.rules]
    return [
        Figure(
            "stability",
            "Whether the order hangs on the rule",
            "Each column ranks the same models by another rule. Lines that cross show what the choice of rule decides.",
            stability_plot(
                [entry.name for entry in ranked], rules, [entry.rule_ranks for entry in ranked], title="Rank stability"
            ),
            ("Model", *rules),
            tuple((entry.name, *("–" if rank is None else str(rank) for rank in entry.rule_ranks)) for entry in ranked),
        )
    ]


def _forest(board: Board, entry: Entry) -> list[Figure]:
    sites = [site for site in entry.sites if site.estimate.value is not None]
    if not sites or entry.estimate.value is None:
        return []
    most = max(1, *(site.cases for site in sites))
    rows = [
        ForestRow(site.site, site.estimate.value or 0.0, site.estimate.interval, site.cases / most) for site in sites
    ]
    rows.append(ForestRow(_ALL, entry.estimate.value, entry.estimate.interval, pooled=True))
    name, bounds = metric_name(board.metric), METRIC_BOUNDS.get(board.metric, (None, None))
    numbers = [(site.site, site.estimate, site.cases) for site in sites] + [(_ALL, entry.estimate, entry.cases)]
    return [
        Figure(
            f"forest-{board.entries.index(entry) + 1}",
            f"{entry.name}, hospital by hospital",
            f"{name} with 95% intervals; a square is as large as the hospital has cases.",
            forest_plot(rows, title=f"Forest plot of {entry.name}", bounds=bounds),
            ("Hospital", name, "from", "to", "Cases"),
            tuple(
                (site, *(score(value) for value in (found.value, found.low, found.high)), str(cases))
                for site, found, cases in numbers
            ),
        )
    ]


def _curves(entry: Entry, classes: Curves) -> list[Figure]:
    return [
        figure
        for label, curve in classes.items()
        for figure in (_roc(entry, label, curve), _calibration(entry, label, curve))
    ]


def _roc(entry: Entry, label: str, curve: Curves) -> Figure:
    points, area, of = curve["roc"], curve["auroc"], f"{entry.name}, {label}"
    band = Band(
        tuple((point["fpr"], point["tpr"]) for point in points),
        tuple((point["fpr_low"], point["fpr_high"], point["tpr_low"], point["tpr_high"]) for point in points),
    )
    certain = f"its area is certainly from {score(area['low'])} to {score(area['high'])}"
    return Figure(
        f"roc-{entry.digest[-8:]}-{label}",
        f"{of}: ROC curve over hospitals",
        f"From the summed histograms of {curve['sites']} hospitals; {certain}. Ranks do not come from here.",
        curve_plot(
            band,
            title=f"ROC curve of {of}",
            description=f"The curve, {certain}.",
            across="false positive rate",
            up="true positive rate",
        ),
        ("Threshold", "True positives", "at least", "at most", "False positives", "at least", "at most"),
        _table(points, "threshold", "tpr", "tpr_low", "tpr_high", "fpr", "fpr_low", "fpr_high"),
    )


def _calibration(entry: Entry, label: str, curve: Curves) -> Figure:
    bins, of = curve["calibration"], f"{entry.name}, {label}"
    band = Band(
        tuple((one["score"], one["observed"]) for one in bins),
        tuple((one["score"], one["score"], one["low"], one["high"]) for one in bins),
    )
    return Figure(
        f"calibration-{entry.digest[-8:]}-{label}",
        f"{of}: calibration over hospitals",
        "Mean score against the observed share; on the diagonal a probability means what it says.",
        curve_plot(
            band,
            title=f"Calibration of {of}",
            description="The observed share at each mean score, with its 95% interval.",
            across="mean score",
            up="observed share",
        ),
        ("Mean score", "Observed share", "from", "to"),
        _table(bins, "score", "observed", "low", "high"),
    )


def _table(points: Sequence[Curves], *keys: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(score(point[key]) for key in keys) for point in points)
