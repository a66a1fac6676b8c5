"""What the demonstration found, as one JSON object."""

from typing import Any

from federation_hub.client.hub import Record
from federation_hub.client.tables import leaderboard_rows
from silo_node.wire.benchmarks import BenchmarkDefinition

_ENTRY = ("rank_low", "rank_high", "model", "digest", "metric", "estimate", "low", "high", "sites", "cases")
_WORST = ("worst_site", "worst_estimate", "worst_low", "worst_high")


def report(
    definition: BenchmarkDefinition,
    leaderboard: Record,
    study: Record,
    *,
    dataset: str,
    seconds: dict[str, float],
    url: str,
) -> Record:
    """Return the report; ``seconds`` are wall-clock times by stage."""
    rows = leaderboard_rows(leaderboard)
    return {
        "benchmark": f"{definition.name}@{definition.version}",
        "dataset": dataset,
        "provenance": definition.provenance,
        "entries": [_entry(row, entry) for row, entry in zip(rows, leaderboard["rows"], strict=True)],
        "study": {
            "study_id": study["study_id"],
            "model": study["final_model"],
            "rounds": study["committed"],
            "sites_per_round": [entry["sites"] for entry in _training_rounds(study)],
            "metric": study["metric"],
            "metric_per_round": [score["value"] for score in round_scores(study)],
        },
        "seconds": seconds | {"total": round(sum(seconds.values()), 2)},
        "url": url,
    }


def _entry(row: Record, entry: Record) -> Record:
    """Return a row of the report; ``labels`` has the metric of each class or structure where there are several."""
    labels = {label: found[row["metric"]] for label, found in (entry.get("labels") or {}).items()}
    return {key: row[key] for key in (*_ENTRY, *_WORST)} | {
        "labels": {label: summary["estimate"] for label, summary in labels.items() if summary}
    }


def round_scores(study: Record) -> list[dict[str, Any]]:
    """Return the metric after each committed round, on the sites' validation cases weighted by their number."""
    return [
        {"round": entry["round"], "value": entry["score"]["by_cases"] if entry["score"] else None}
        for entry in _training_rounds(study)
    ]


def _training_rounds(study: Record) -> list[Record]:
    return [entry for entry in study["rounds"] if entry["state"] == "committed" and not entry["validate_only"]]
