"""Reading a snapshot's bytes back as a board."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, overload

from pydantic_core import from_json

from federation_hub.leaderboards.board import Badge, Board, Comparison, Entry, Estimate, SiteValue, Waiting
from silo_node.wire.benchmarks import BenchmarkDefinition

UNNAMED = "a hospital not shown"
ATTESTED = Badge("silo-attested")
Json = Mapping[str, Any]


def read_board(body: bytes) -> Board:
    """Return the board a snapshot holds."""
    snapshot = from_json(body)
    rows = [row for row in snapshot["rows"] if row["status"] in ("ranked", "compared")]
    names = {row["model"]: row["name"] for row in snapshot["rows"]}
    sites = _ordered(set(snapshot["shown_sites"]))
    return Board(
        metric=snapshot["metric"]["name"],
        direction=snapshot["metric"]["direction"],
        floor=snapshot["metric"]["floor"],
        entries=tuple(_entry(snapshot, row, sites) for row in rows),
        sites=sites,
        site_count=snapshot["sites"],
        cases=snapshot["cases"],
        minimum_sites=snapshot["minimum_sites"],
        waiting=tuple(
            Waiting(row["model"], row["name"], row["sites"])
            for row in snapshot["rows"]
            if row["status"] in ("withheld", "awaiting")
        ),
        rules=tuple(order["rule"] for order in snapshot["sensitivity"]),
        comparisons=tuple(_comparison(pair, names) for pair in snapshot["pairs"]),
        notes=tuple(snapshot["notes"]),
        kendall_tau=snapshot["kendall_tau"],
        blocks={given["block"]: given["site"] for given in snapshot["inputs"]},
    )


def _ordered(sites: set[str]) -> tuple[str, ...]:
    """Return named sites by name, then pseudonyms as they were given: ``Site Z`` before ``Site AA``."""
    return tuple(sorted(sites, key=lambda site: (site.startswith("Site "), len(site) * site.startswith("Site "), site)))


def _entry(snapshot: Json, row: Json, sites: Sequence[str]) -> Entry:
    listed = snapshot["entries"][row["model"]]
    interval, spread = row["rank_interval"], row["heterogeneity"]
    return Entry(
        digest=row["model"],
        name=row["name"],
        owner=listed["organisation"],
        badges=_badges(row, listed),
        kind=_kind(row, listed),
        rank=_point_rank(snapshot, row["model"]),
        rank_low=row["rank_low"],
        rank_high=row["rank_high"],
        group=row["tie_group"] + 1,
        estimate=_estimate(row),
        prediction=_pair(row["prediction"]),
        first=row["probability_best"],
        top_three=row["probability_top3"],
        sites=_SiteRow(snapshot, row, sites),
        worst=_worst(snapshot, row),
        best_worst_gap=row["gap"],
        site_count=row["sites"],
        cases=row["cases"],
        failed=row["failed"],
        scope=row["scope"],
        drawn_ranks=(interval["low"], interval["high"]) if interval else None,
        case_weighted=_estimate(row["case_weighted"]),
        i2=Estimate(spread["i2"], spread["i2_low"], spread["i2_high"]) if spread else Estimate(None),
        metrics={name: _estimate(row["metrics"][name]) for name in snapshot["metrics"] if name in row["metrics"]},
        labels={
            label: _estimate(row["labels"][label][snapshot["metric"]["name"]])
            for label in snapshot["labels"]
            if label in row["labels"]
        },
        subgroups={f"{group['attribute']}: {group['level']}": _estimate(group) for group in row["subgroups"]},
        rule_ranks=tuple(order["ranks"].get(row["model"]) for order in snapshot["sensitivity"]),
        rules_within=row["rules_within"],
        rank_draws=_rank_draws(row["rank_draws"]),
        reach=_reach(row["per_site"]["estimate"]),
        tables=row["tables"],
    )


def _badges(row: Json, listed: Json) -> tuple[Badge, ...]:
    badges = [Badge("baseline")] if row["baseline"] else []
    if listed["study"] is not None:
        badges.append(Badge("federated study", f"/studies/{listed['study']}"))
    if (listed.get("attempt") or 1) > 1:
        badges.append(Badge(f"attempt {listed['attempt']}"))
    return (*badges, ATTESTED)


def _kind(row: Json, listed: Json) -> Literal["submitted", "federated", "baseline"]:
    if row["baseline"]:
        return "baseline"
    return "submitted" if listed["study"] is None else "federated"


def _point_rank(snapshot: Json, model: str) -> float | None:
    orders = snapshot["sensitivity"]
    return orders[0]["ranks"].get(model) if orders else None


def _estimate(summary: Json | None) -> Estimate:
    return Estimate(summary["estimate"], summary["low"], summary["high"]) if summary else Estimate(None)


def _pair(interval: Json | None) -> tuple[float, float] | None:
    if interval is None or interval["low"] is None or interval["high"] is None:
        return None
    return interval["low"], interval["high"]


def _rank_draws(draws: Json | None) -> tuple[int, tuple[int, ...]] | None:
    return (draws["first"], tuple(draws["counts"])) if draws else None


def _misses_floor(snapshot: Json, value: float | None) -> bool:
    floor, higher = snapshot["metric"]["floor"], snapshot["metric"]["direction"] == "higher"
    if floor is None or value is None:
        return False
    return bool(value < floor if higher else value > floor)


class _SiteRow(Sequence[SiteValue]):
    """A row's cells, read when somebody looks: a board of 1,000 models and 100 sites has 100,000, a page 2,500."""

    def __init__(self, snapshot: Json, row: Json, sites: Sequence[str]) -> None:
        self._snapshot, self._row, self._sites = snapshot, row, sites

    @cached_property
    def _values(self) -> tuple[SiteValue, ...]:
        cells = _cells(self._snapshot["shown_sites"], self._row["per_site"])
        worst = (self._row["worst_site"] or {}).get("site")
        return tuple(_site_value(self._snapshot, site, cells.get(site), worst == site) for site in self._sites)

    def __len__(self) -> int:
        return len(self._sites)

    def __iter__(self) -> Iterator[SiteValue]:
        return iter(self._values)

    @overload
    def __getitem__(self, index: int) -> SiteValue: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SiteValue, ...]: ...
    def __getitem__(self, index: int | slice) -> SiteValue | tuple[SiteValue, ...]:
        return self._values[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._values == tuple(other)

    def __hash__(self) -> int:
        return hash(self._values)


def _reach(values: Sequence[float]) -> tuple[float, float] | None:
    return (min(values), max(values)) if values else None


def _cells(names: Sequence[str], columns: Json) -> dict[str, Json]:
    """Return a row's cells by site, from the columns a snapshot keeps them in."""
    keys = ("estimate", "low", "high", "cases")
    cells = (dict(zip(keys, values, strict=True)) for values in zip(*(columns[key] for key in keys), strict=True))
    return {names[site]: cell for site, cell in zip(columns["sites"], cells, strict=True)}


def _site_value(snapshot: Json, site: str, cell: Json | None, worst: bool) -> SiteValue:
    if cell is None:
        return SiteValue(site, Estimate(None))
    return SiteValue(site, _estimate(cell), worst, _misses_floor(snapshot, cell["estimate"]), cell["cases"])


def _worst(snapshot: Json, row: Json) -> SiteValue | None:
    worst = row["worst_site"]
    if worst is None:
        return None
    found = _estimate(worst)
    return SiteValue(worst["site"] or UNNAMED, found, True, _misses_floor(snapshot, found.value))


def _comparison(pair: Json, names: Mapping[str, str]) -> Comparison:
    return Comparison(
        first=names[pair["a"]],
        second=names[pair["b"]],
        difference=Estimate(pair["difference"], pair["low"], pair["high"]),
        p_adjusted=pair["p_adjusted"],
        sites=pair["sites"],
        apart=pair["separated"],
        digests=(pair["a"], pair["b"]),
    )


def empty_board(definition: BenchmarkDefinition) -> Board:
    """Return the board of a benchmark before any hospital has reported."""
    primary = definition.primary
    return Board(
        metric=primary.name,
        direction=primary.direction,
        floor=primary.floor,
        entries=(),
        sites=(),
        site_count=0,
        cases=0,
        minimum_sites=definition.disclosure.minimum_sites,
    )
