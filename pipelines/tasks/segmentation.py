"""Segmentation: Dice and cross entropy, the most probable label a voxel, and overlap scores for each structure."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from monai.losses.dice import DiceCELoss

from pipelines.cohort import LabelArray, PreparedCase
from pipelines.question import Question
from pipelines.tasks.overlap import Overlap, score_masks, worst


class Segmentation:
    """The rules of a segmentation benchmark. Labels are maps: 0 background, then the structures in order."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.metric = question.primary.name
        """The validation metric."""

        self._loss = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Soft Dice of the structures plus cross entropy; logits (B, K, *shape), label maps (B, *shape)."""
        value: torch.Tensor = self._loss(logits, labels[:, None])
        return value

    def predict(self, logits: torch.Tensor) -> LabelArray:
        """Turn logits (1, K, *shape) into a label map; raises ``ValueError`` for another shape or a NaN."""
        if tuple(logits.shape) != (1, self.question.outputs, *self.question.input.shape):
            raise ValueError("the output is not one map a label on the input's grid")
        if not bool(torch.isfinite(logits).all()):
            raise ValueError("the output is not finite")
        return logits[0].argmax(dim=0).to(torch.uint8).numpy()

    def record(self, prediction: LabelArray, case: PreparedCase) -> dict[str, Any]:
        """Return the scored part of a case's line: each structure's overlap."""
        return {
            "structures": {
                name: _rounded(self._score(prediction == index, case, index))
                for index, name in enumerate(self.question.structures, start=1)
            }
        }

    def failed_record(self, case: PreparedCase) -> dict[str, Any]:
        """Return the worst score of each structure: Dice and NSD 0, HD95 at the cap."""
        cap = self.question.cap_mm()
        return {
            "structures": {
                name: _rounded(worst(np.asarray(case.label) == index, case.spacing_mm, cap_mm=cap))
                for index, name in enumerate(self.question.structures, start=1)
            }
        }

    def validate(
        self, records: Sequence[dict[str, Any]], cases: Sequence[PreparedCase]
    ) -> tuple[str, float | None, str]:
        """Return the validation metric (the primary one), its mean over structures and cases, or a coded reason."""
        metric = self.metric
        if len(cases) < self.question.disclosure.minimum_cell:
            return metric, None, "too-few-cases"
        values = [scores[metric] for record in records for scores in record["structures"].values()]
        return metric, float(np.mean(values)), ""

    def _score(self, predicted: np.ndarray[Any, np.dtype[np.bool_]], case: PreparedCase, index: int) -> Overlap:
        return score_masks(
            predicted,
            np.asarray(case.label) == index,
            case.spacing_mm,
            tolerance_mm=self.question.tolerance_mm(),
            cap_mm=self.question.cap_mm(),
        )


def _rounded(overlap: Overlap) -> dict[str, Any]:
    return {
        name: value if isinstance(value, bool) else round(float(value), 6) for name, value in asdict(overlap).items()
    }
