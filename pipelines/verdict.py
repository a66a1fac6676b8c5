"""What the check of a model makes of its runs over one cohort: the same rule at a check node and at a researcher's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.errors import PipelineError

RUNS = 2
MOSTLY_FAILED = 0.5
"""Beyond this share of failed cases the model does not fit the benchmark."""

COST = frozenset({"seconds", "peak_memory_mb"})

Score = Mapping[str, Any]
"""One line of a score file."""


def fault(runs: Sequence[Sequence[Score]]) -> PipelineError | None:
    """Return what is wrong with a model that ran: it answers too few cases, or not the same twice."""
    first, *others = [[_answer(score) for score in scores] for scores in runs]
    if sum(bool(score["failed"]) for score in runs[0]) > MOSTLY_FAILED * len(runs[0]):
        return PipelineError("model-incompatible", "it has no usable answer for most cases")
    if any(other != first for other in others):
        return PipelineError("model-not-deterministic", "the same cases had another answer the second time")
    return None


def _answer(score: Score) -> str:
    """Return what must be the same in every run: all but the cost."""
    return json.dumps({key: value for key, value in score.items() if key not in COST}, sort_keys=True)
