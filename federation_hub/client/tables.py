"""A leaderboard snapshot as plain rows, for a terminal, a data frame or another program."""

from typing import Any

Row = dict[str, Any]


def leaderboard_rows(leaderboard: dict[str, Any]) -> list[Row]:
    """Return one flat row a model, best first; a value that is not known or not shown is ``None``.

    ``low`` and ``high`` are the 95% interval of ``estimate``; the ``prediction_`` columns that of a new site. With
    fewer than three sites ``scope`` is ``these_sites`` and the interval says nothing about others.
    """
    return [_row(entry, leaderboard["metric"]["name"]) for entry in leaderboard["rows"]]


def _row(entry: dict[str, Any], metric: str) -> Row:
    worst, prediction = entry.get("worst_site") or {}, entry.get("prediction") or {}
    return {
        "rank": entry.get("rank"),
        "rank_low": entry.get("rank_low"),
        "rank_high": entry.get("rank_high"),
        "tie_group": entry.get("tie_group"),
        "model": entry["name"],
        "digest": entry["model"],
        "status": entry["status"],
        "metric": metric,
        "estimate": entry.get("estimate"),
        "low": entry.get("low"),
        "high": entry.get("high"),
        "scope": entry.get("scope"),
        "prediction_low": prediction.get("low"),
        "prediction_high": prediction.get("high"),
        "probability_best": entry.get("probability_best"),
        "worst_site": worst.get("site"),
        "worst_estimate": worst.get("estimate"),
        "worst_low": worst.get("low"),
        "worst_high": worst.get("high"),
        "sites": entry.get("sites"),
        "cases": entry.get("cases"),
        "failed": entry.get("failed"),
    }
