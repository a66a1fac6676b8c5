"""A study of very many rounds comes in pages; this puts them together."""

from typing import Any

Record = dict[str, Any]


def joined(before: Record, after: Record) -> Record:
    """Return a study with the rounds of two of its pages that follow each other; all else as the later one tells it."""
    return {
        **after,
        "rounds": [*before["rounds"], *after["rounds"]],
        "curves": _curves(before["curves"], after["curves"]),
    }


def _curves(before: list[Record], after: list[Record]) -> list[Record]:
    """Return a curve a site; of a model that was scored twice the later score counts."""
    sites = {curve["silo_id"]: curve["silo"] for curve in (*before, *after)}
    points: dict[str, dict[int, Record]] = {silo_id: {} for silo_id in sites}
    for curve in (*before, *after):
        points[curve["silo_id"]] |= {point["made"]: point for point in curve["points"]}
    return [
        {"silo_id": silo_id, "silo": sites[silo_id], "points": [found[made] for made in sorted(found)]}
        for silo_id, found in sorted(points.items())
    ]
