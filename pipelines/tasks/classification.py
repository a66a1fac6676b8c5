"""Classification: cross entropy, softmax probabilities, and a case's record is its probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pipelines.cohort import PreparedCase
from pipelines.question import Question

LOG_ODDS_STEPS, LARGEST_LOG_ODDS = 64, 24.0
"""Scores are kept in steps of 1/64 of their log-odds, up to 24: no room to carry anything else in low bits, and order
is kept where an overconfident model needs it. Steps of the probability would tie nearly half of its cases at 1."""

Probabilities = np.ndarray[Any, np.dtype[np.float64]]


class Classification:
    """The rules of a classification benchmark. Labels are class indices, the first class negative."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.metric = "auroc"
        """The validation metric: macro AUROC, whatever the benchmark's primary one is."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross entropy of logits (B, K) against class indices (B,)."""
        return functional.cross_entropy(logits, labels)

    def predict(self, logits: torch.Tensor) -> Probabilities:
        """Turn logits (1, K) into K probabilities; raises ``ValueError`` for another shape or a NaN."""
        if tuple(logits.shape) != (1, self.question.outputs) or not bool(torch.isfinite(logits).all()):
            raise ValueError("the output is not one finite logit a class")
        values = logits[0].double()
        others = values.repeat(len(values), 1).fill_diagonal_(-torch.inf)
        log_odds = (values - torch.logsumexp(others, dim=1)).numpy()
        kept = np.clip(np.round(log_odds * LOG_ODDS_STEPS) / LOG_ODDS_STEPS, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
        probabilities: Probabilities = torch.sigmoid(torch.from_numpy(kept)).numpy()
        return probabilities

    def record(self, prediction: Probabilities, case: PreparedCase) -> dict[str, Any]:
        """Return the scored part of a case's line."""
        return {"scores": [float(value) for value in prediction]}

    def failed_record(self, case: PreparedCase) -> dict[str, Any]:
        """Return the worst score a case can have: nothing for its own class, everything for the others."""
        others = 1.0 / (self.question.outputs - 1)
        return {"scores": [0.0 if index == case.label else others for index in range(self.question.outputs)]}

    def validate(
        self, records: Sequence[dict[str, Any]], cases: Sequence[PreparedCase]
    ) -> tuple[str, float | None, str]:
        """Return the validation metric's name, its value (macro AUROC), and a coded reason where there is none.

        Undefined where a class, or its complement, has fewer cases than the benchmark lets a site tell.
        """
        labels = np.array([int(case.label) for case in cases], dtype=int)
        scores = np.array([record["scores"] for record in records]).reshape(-1, self.question.outputs)
        values = []
        for index in range(1, self.question.outputs):
            positives = labels == index
            reason = self._too_few(positives)
            if reason:
                return self.metric, None, reason
            values.append(auroc(scores[:, index], positives))
        return self.metric, float(np.mean(values)), ""

    def _too_few(self, positives: np.ndarray[Any, np.dtype[np.bool_]]) -> str:
        fewest = self.question.disclosure.minimum_class
        if positives.sum() < fewest:
            return "too-few-positives"
        return "too-few-negatives" if (~positives).sum() < fewest else ""


def auroc(scores: Probabilities, positives: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Return how often a positive scores above a negative, a tie counting half (Mann and Whitney); both must occur."""
    others, own = np.sort(scores[~positives]), scores[positives]
    above = np.searchsorted(others, own, side="left") + np.searchsorted(others, own, side="right")
    return float(above.sum() / (2 * len(own) * len(others)))
