"""A frozen cohort as the sandbox sees it: a manifest and one safetensors file a case, both read-only.

A prepared case holds ``image`` float32 (C, *shape), ``spacing_mm`` float32, and ``label``: int64 (1,) for
classification or uint8 (*shape) for segmentation. The node has checked every file's digest before the sandbox started.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipelines.errors import PipelineError
from pipelines.question import Question, first_field

Split = Literal["train", "validation", "test"]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]
LabelArray = np.ndarray[Any, np.dtype[np.uint8]]


class CaseEntry(BaseModel):
    """One case of the manifest; ``case`` and ``patient`` are keyed pseudonyms."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    case: str
    patient: str
    split: Split
    path: str
    label: int | None = None
    attributes: dict[str, str | None] = {}

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        if Path(value).is_absolute() or ".." in Path(value).parts:
            raise ValueError("leads out of the cohort")
        return value


class Manifest(BaseModel):
    """The cohort's manifest, as far as imaging needs it."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    format: Literal["cohort/1"]
    cases: tuple[CaseEntry, ...]


@dataclass(frozen=True)
class PreparedCase:
    """A case in memory. ``label`` is the class index, or the label map on the image's grid."""

    image: FloatArray
    label: int | LabelArray
    spacing_mm: tuple[float, ...]


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json``; raises ``data-missing`` or ``cohort-changed``."""
    try:
        return Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except FileNotFoundError:
        raise PipelineError("data-missing", "the cohort has no manifest") from None
    except ValidationError as error:
        raise PipelineError("cohort-changed", f"manifest field {first_field(error)}") from None


def cases_of(manifest: Manifest, split: Split) -> list[CaseEntry]:
    """Return the cases of a split in the manifest's order."""
    return [entry for entry in manifest.cases if entry.split == split]


def read_case(folder: Path, entry: CaseEntry, question: Question) -> PreparedCase:
    """Read one prepared case and check it against the benchmark's input.

    Raises ``cohort-changed`` for a missing or unreadable file, ``image-invalid`` for another shape.
    """
    try:
        tensors = load_file(folder / entry.path)
        image, label, spacing = tensors["image"], tensors["label"], tensors["spacing_mm"]
    except (OSError, SafetensorError, KeyError):
        raise PipelineError("cohort-changed", "a prepared case cannot be read") from None
    shape = (question.input.channels, *question.input.shape)
    if image.shape != shape or image.dtype != np.float32:
        raise PipelineError("image-invalid", "a prepared case has another shape or dtype than the benchmark's input")
    if question.task == "classification":
        return PreparedCase(image, _class_index(label, question), tuple(float(step) for step in spacing))
    if label.shape != shape[1:] or label.dtype != np.uint8 or int(label.max(initial=0)) >= question.outputs:
        raise PipelineError("image-invalid", "a label map does not fit its image or the benchmark's labels")
    return PreparedCase(image, label, tuple(float(step) for step in spacing))


def _class_index(label: np.ndarray[Any, Any], question: Question) -> int:
    if label.size != 1 or not 0 <= int(label.reshape(-1)[0]) < question.outputs:
        raise PipelineError("label-unknown", "a case's label is not in the benchmark's list")
    return int(label.reshape(-1)[0])


class CaseSource:
    """The cases of one split, kept in memory up to a number of bytes and read again beyond it.

    ``preprocess`` is the model's own deterministic preprocessing of the image.
    """

    def __init__(
        self,
        folder: Path,
        entries: Sequence[CaseEntry],
        question: Question,
        preprocess: Callable[[FloatArray], FloatArray],
        cache_bytes: int = 2**30,
    ) -> None:
        self._folder, self._entries, self._question = folder, entries, question
        self._preprocess, self._room = preprocess, cache_bytes
        self._kept: dict[int, PreparedCase] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> PreparedCase:
        if index in self._kept:
            return self._kept[index]
        case = read_case(self._folder, self._entries[index], self._question)
        case = PreparedCase(self._preprocess(case.image), case.label, case.spacing_mm)
        if case.image.nbytes <= self._room:
            self._room -= case.image.nbytes
            self._kept[index] = case
        return case

    def batch(self, indices: Iterable[int]) -> tuple[FloatArray, np.ndarray[Any, Any]]:
        """Return images (B, C, *shape) and labels: (B,) class indices or (B, *shape) label maps."""
        cases = [self[int(index)] for index in indices]
        return np.stack([case.image for case in cases]), np.stack([np.asarray(case.label) for case in cases])
