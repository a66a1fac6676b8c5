"""The declared files of a model of tier 3: what it is shown of a case, and what is read back of it.

Its own code runs in a container that sees two folders. ``/input`` holds ``question.json`` (task, labels, shape, number
of cases) and for each case ``00000.safetensors`` with one tensor ``image``, float32, channels first, after the bundle's
own preprocessing: no label, no name, no attribute. In ``/output`` it leaves a file of the same name with one tensor:
``logits``, float32, one a label, for a classification; ``label``, uint8 on the image's grid, for a segmentation. A file
that is missing or anything else makes that case a failed one. The kit's own code scores, in the jail, as for any model.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from pipelines.bundles.bundle import read_bundle
from pipelines.bundles.profile import refuse_incompatible
from pipelines.bundles.weights import read_weights_index
from pipelines.cohort import CaseEntry, PreparedCase, cases_of, read_case, read_manifest
from pipelines.errors import PipelineError
from pipelines.job import StageJob
from pipelines.preparation.transforms import build_preprocessing
from pipelines.question import Question, read_question
from pipelines.tasks import Task
from pipelines.tasks.classification import Classification

FORMAT = "contained-model/1"
_HEADER_ROOM = 4096


def name_of(position: int) -> str:
    """Return the file name of a case by its place in the split; it says nothing else of the case."""
    return f"{position:05d}.safetensors"


def stage_images(job: StageJob) -> None:
    """Write ``question.json`` and the images of a split to ``out``; raises as reading a bundle and a cohort does."""
    question, bundle = read_question(job.definition), read_bundle(job.bundle)
    refuse_incompatible(bundle.profile, question)
    preprocess = build_preprocessing(bundle.profile.preprocessing)
    entries = cases_of(read_manifest(job.cohort), job.split)
    for position, entry in enumerate(entries):
        image = np.ascontiguousarray(preprocess(read_case(job.cohort, entry, question).image), np.float32)
        save_file({"image": image}, job.out / name_of(position))
    asked = {"format": FORMAT, "task": question.task, "labels": list(question.labels), "cases": len(entries)}
    (job.out / "question.json").write_text(json.dumps(asked | {"input": question.input.model_dump(mode="json")}))


class AnswersGiven:
    """A model that has answered already: a case's record is read from its file, which is not trusted."""

    def __init__(self, folder: Path, entries: list[CaseEntry], question: Question, task: Task, seconds: float) -> None:
        self._folder, self._question, self._task, self._seconds = folder, question, task, seconds
        self._places = {entry.case: place for place, entry in enumerate(entries)}

    def answer_to(self, entry: CaseEntry, case: PreparedCase) -> dict[str, Any]:
        """Score one case; an answer that is missing or not as declared makes it a failed one."""
        # The node knows no peak of a container's memory; its limit is the engine's to keep.
        cost = {"seconds": self._seconds, "peak_memory_mb": 0.0}
        try:
            answer = self._answer(self._folder / name_of(self._places[entry.case]))
            if isinstance(self._task, Classification):
                prediction: Any = self._task.predict(torch.from_numpy(answer)[None])
            else:
                prediction = self._label(answer)
            return {"failed": False, **self._task.record(prediction, case), **cost}
        except (PipelineError, OSError, ValueError):
            return {"failed": True, **self._task.failed_record(case), **cost}

    def _answer(self, path: Path) -> np.ndarray[Any, Any]:
        """Return the one declared tensor of a file of the one size it can have."""
        name, dtype, kind, shape = self._declared()
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        if path.is_symlink() or not path.is_file() or path.stat().st_size > size + _HEADER_ROOM:
            raise PipelineError("file-missing", path.name)
        index = read_weights_index(path)
        if [(tensor.name, tensor.dtype, tensor.shape) for tensor in index.tensors] != [(name, dtype, shape)]:
            raise ValueError("another tensor than declared")
        with path.open("rb") as file:
            file.seek(index.data_start)
            return np.frombuffer(bytearray(file.read(size)), kind).reshape(shape)

    def _declared(self) -> tuple[str, str, str, tuple[int, ...]]:
        if self._question.task == "classification":
            return "logits", "F32", "<f4", (self._question.outputs,)
        return "label", "U8", "|u1", self._question.input.shape

    def _label(self, answer: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if int(answer.max(initial=0)) >= self._question.outputs:
            raise ValueError("a label beyond the benchmark's")
        return answer
