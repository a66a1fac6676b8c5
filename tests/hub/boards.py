"""Boards made by hand, for what is decided after the statistics are done."""

from dataclasses import replace

from federation_hub.leaderboards.board import Board, Entry, Estimate, SiteValue


def entry(name: str = "Model A", **changes: object) -> Entry:
    """Return an entry of an ordinary board, with changes."""
    sites = (
        SiteValue("Site A", Estimate(0.95, 0.92, 0.98)),
        SiteValue("Site B", Estimate(0.86, 0.81, 0.90), worst=True),
        SiteValue("Site C", Estimate(0.93, 0.90, 0.96)),
    )
    ordinary = Entry(
        digest="blake3:" + "a" * 64,
        name=name,
        owner="Imaging Lab",
        badges=(),
        kind="submitted",
        rank=1.0,
        rank_low=1,
        rank_high=1,
        group=1,
        estimate=Estimate(0.92, 0.88, 0.95),
        prediction=(0.80, 0.98),
        first=0.97,
        top_three=1.0,
        sites=sites,
        worst=sites[1],
        best_worst_gap=0.09,
        site_count=3,
        cases=300,
        metrics={},
    )
    return replace(ordinary, **changes)  # type: ignore[arg-type]


def board(*entries: Entry, **changes: object) -> Board:
    """Return a board of these entries, with changes."""
    ordinary = Board(
        metric="auroc",
        direction="higher",
        floor=None,
        entries=entries,
        sites=("Site A", "Site B", "Site C"),
        site_count=3,
        cases=300,
        minimum_sites=3,
    )
    return replace(ordinary, **changes)  # type: ignore[arg-type]
