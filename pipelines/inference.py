"""Scoring a model on the cases of a split: one line a case, resumable at the case where it was killed.

Every case of the split gets a line. A case for which the model gives no usable answer is scored as failed, by the worst
value, and never left out: a model that answers only the easy cases gains nothing.
"""

import json
import logging
import os
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from torch import nn

from pipelines.answers import AnswersGiven
from pipelines.bundles.bundle import read_bundle
from pipelines.cohort import CaseEntry, FloatArray, PreparedCase, cases_of, read_case, read_manifest
from pipelines.device import device_of, granted_device
from pipelines.job import EvaluateJob, ModelFile
from pipelines.networks import load_network
from pipelines.preparation.transforms import build_preprocessing
from pipelines.question import Question, read_question
from pipelines.tasks import Task, task_for

logger = logging.getLogger(__name__)
MAX_ATTEMPTS = 3
_SYNC_SECONDS = 1.0
_NOTE_BYTES = 128


class Predictor:
    """A model with its own preprocessing and the task's reading of its output."""

    def __init__(self, network: nn.Module, preprocess: Callable[[FloatArray], FloatArray], task: Task) -> None:
        self._network, self._preprocess, self._task = network.eval(), preprocess, task

    def record(self, case: PreparedCase) -> dict[str, Any]:
        """Predict and score one case; whatever goes wrong makes it a failed case."""
        start = time.perf_counter()
        try:
            with torch.inference_mode():
                image = torch.from_numpy(self._preprocess(case.image)).to(device_of(self._network))
                prediction = self._task.predict(self._network(image[None]).cpu())
            scored = self._task.record(prediction, case)  # type: ignore[arg-type]
            return {"failed": False, **scored, "seconds": round(time.perf_counter() - start, 6)}
        except Exception as error:
            # A submitted network may fail in any way torch knows. The message may quote the input, so only its kind is
            # logged, and the case counts as failed.
            logger.warning("a case failed: %s", type(error).__name__)
            scored = self._task.failed_record(case)
            return {"failed": True, **scored, "seconds": round(time.perf_counter() - start, 6)}


def evaluate_models(job: EvaluateJob, progress: Callable[[int, int], None]) -> None:
    """Score every model of a job on every case of its split; see :class:`~pipelines.job.EvaluateJob`.

    Raises a bundle's code where a model cannot be loaded, ``cohort-changed`` or ``image-invalid`` where a case cannot
    be read: those are faults of the model file or of the site's data, not failed cases.
    """
    question = read_question(job.definition)
    task = task_for(question)
    entries = cases_of(read_manifest(job.cohort), job.split)
    (job.out / "scores").mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    for position, model in enumerate(job.models):
        sheet = ScoreSheet(job.out / "scores", model.hex)
        start = time.perf_counter()
        if sheet.missing(entries):
            predictor = _predictor(model, entries, question, task)
            for done in _score(sheet, predictor, entries, job, question, task):
                progress(position * len(entries) + done, len(job.models) * len(entries))
        seconds[model.digest] = round(time.perf_counter() - start, 3)
    progress(len(job.models) * len(entries), len(job.models) * len(entries))
    _write_done(job.out, seconds)


def _predictor(
    model: ModelFile, entries: list[CaseEntry], question: Question, task: Task
) -> "Predictor | AnswersGiven":
    if model.answers is not None:
        return AnswersGiven(model.answers, entries, question, task, model.seconds)
    bundle = read_bundle(model.path)
    network = load_network(bundle).to(granted_device())
    return Predictor(network, build_preprocessing(bundle.profile.preprocessing), task)


def _score(
    sheet: "ScoreSheet",
    predictor: Predictor | AnswersGiven,
    entries: list[CaseEntry],
    job: EvaluateJob,
    question: Question,
    task: Task,
) -> Iterable[int]:
    _reset_peak_memory()
    with sheet:
        for count, entry in enumerate(entries):
            if sheet.has(entry):
                continue
            case = read_case(job.cohort, entry, question)
            if sheet.begin(entry) > MAX_ATTEMPTS:
                record = {"failed": True, **task.failed_record(case), "seconds": 0.0}
            elif isinstance(predictor, AnswersGiven):
                record = predictor.answer_to(entry, case)
            else:
                record = predictor.record(case)
            sheet.write(entry, record, question)
            yield count + 1


class ScoreSheet:
    """The lines of one model: appended, flushed to disk every second, and read back after a kill.

    A note beside it counts how often each case was begun and not ended, so that a case that kills the process (by its
    memory, say) is scored as failed at last instead of being tried for ever.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path, self._note = folder / f"{name}.jsonl", folder / f"{name}.attempt"
        self._done = self._recover()
        self._begun, self._attempts = self._last_begun()
        self._synced = time.monotonic()

    def __enter__(self) -> "ScoreSheet":
        self._file = self._path.open("ab")
        self._note_file = os.open(self._note, os.O_WRONLY | os.O_CREAT, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.close(self._note_file)
        if not self._begun:
            self._note.unlink(missing_ok=True)

    def has(self, entry: CaseEntry) -> bool:
        """Whether the case has its line."""
        return entry.case in self._done

    def missing(self, entries: list[CaseEntry]) -> bool:
        """Whether any of these cases has no line yet."""
        return any(entry.case not in self._done for entry in entries)

    def begin(self, entry: CaseEntry) -> int:
        """Note that a case is begun and return how often it was, this time included."""
        self._attempts = self._attempts + 1 if self._begun == entry.case else 1
        self._begun = entry.case
        # Written in place: replacing a file for each case would make the file system flush for each case.
        os.pwrite(self._note_file, f"{entry.case} {self._attempts}".ljust(_NOTE_BYTES).encode(), 0)
        return self._attempts

    def write(self, entry: CaseEntry, record: dict[str, Any], question: Question) -> None:
        """Append a case's line; it is on disk within a second."""
        line = {
            "case": entry.case,
            "patient": entry.patient,
            "label": entry.label if question.task == "classification" else None,
            "peak_memory_mb": round(_peak_memory_mb(), 1),
            **record,
            "attributes": entry.attributes,
        }
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        self._done.add(entry.case)
        self._begun = ""
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _last_begun(self) -> tuple[str, int]:
        try:
            case, attempts = self._note.read_text().split()
            return ("", 0) if case in self._done else (case, int(attempts))
        except (OSError, ValueError):
            return "", 0

    def _recover(self) -> set[str]:
        """Drop a torn last line and return the cases of the whole ones."""
        if not self._path.exists():
            return set()
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        return {str(json.loads(line)["case"]) for line in whole.splitlines()}


def _write_done(out: Path, seconds: dict[str, float]) -> None:
    versions = {"monai": monai.__version__, "torch": torch.__version__, "numpy": np.__version__}
    partial = out / "done.json.partial"
    partial.write_text(json.dumps({"software": versions, "model_seconds": seconds}))
    partial.replace(out / "done.json")


def _reset_peak_memory() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        logger.info("peak memory is that of the whole process: /proc/self/clear_refs cannot be written")


def _peak_memory_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
