"""Evaluation of models over a cohort: one line a case, failures counted, resumable where it was killed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.cohort import CaseEntry, cases_of, read_case, read_manifest
from pipelines.errors import PipelineError
from pipelines.inference import MAX_ATTEMPTS, Predictor, ScoreSheet, evaluate_models
from pipelines.job import EvaluateJob, ModelFile
from pipelines.tasks import task_for
from silo_node.agent.scores import read_scores
from tests.unit.pipelines.examples import definition, question, tiny_bundle, write_cohort

HEX = "ab" * 32


def job(tmp_path: Path, task: str = "classification", models: tuple[str, ...] = (HEX,)) -> EvaluateJob:
    """An evaluation of tiny bundles over a tiny cohort."""
    cohort = tmp_path / "cohort"
    if not cohort.exists():
        write_cohort(cohort, task)
    files = []
    for seed, name in enumerate(models):
        path = tmp_path / f"{name}.zip"
        if not path.exists():
            tiny_bundle(path, task, seed=seed)
        files.append(ModelFile(digest=f"blake3:{name}", path=path))
    return EvaluateJob(cohort=cohort, definition=definition(task), models=tuple(files), out=tmp_path / "out")


def lines(tmp_path: Path, name: str = HEX) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / f"out/scores/{name}.jsonl").read_text().splitlines()]


def ignore(done: int, total: int) -> None:
    """Progress nobody looks at."""


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_every_case_of_the_split_has_one_line_the_node_can_read(tmp_path: Path, task: str) -> None:
    """For every model; the node's own strict reader is the judge."""
    other = "cd" * 32
    work = job(tmp_path, task, (HEX, other))
    evaluate_models(work, ignore)
    cases = [entry.case for entry in cases_of(read_manifest(work.cohort), "test")]
    for name in (HEX, other):
        scores = read_scores(tmp_path / f"out/scores/{name}.jsonl", cases)
        assert [score.case for score in scores] == cases
        assert not any(score.failed for score in scores)
    done = json.loads((tmp_path / "out/done.json").read_text())
    assert set(done["model_seconds"]) == {f"blake3:{HEX}", f"blake3:{other}"}
    assert done["software"]["torch"] == torch.__version__


def test_progress_is_told_in_cases_of_all_models(tmp_path: Path) -> None:
    """And ends at the total."""
    told: list[tuple[int, int]] = []
    evaluate_models(job(tmp_path, models=(HEX, "cd" * 32)), lambda done, total: told.append((done, total)))
    assert told[0] == (1, 12)
    assert told[-1] == (12, 12)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def test_an_evaluation_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """The lines that are there stay byte for byte, none of their cases is run again, and the scores are the same."""
    evaluate_models(job(tmp_path), ignore)
    undisturbed = lines(tmp_path)
    path = tmp_path / f"out/scores/{HEX}.jsonl"
    path.unlink()

    def kill_after_three(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        evaluate_models(job(tmp_path), kill_after_three)
    before = path.read_bytes()
    told: list[int] = []
    evaluate_models(job(tmp_path), lambda done, total: told.append(done))
    assert path.read_bytes().startswith(before)
    assert told == [4, 5, 6, 6]
    assert [(line["case"], line["scores"]) for line in lines(tmp_path)] == [
        (line["case"], line["scores"]) for line in undisturbed
    ]


def test_a_torn_last_line_is_run_again(tmp_path: Path) -> None:
    """A power cut may leave half a line; half a line is no score."""
    evaluate_models(job(tmp_path), ignore)
    path, whole = tmp_path / f"out/scores/{HEX}.jsonl", lines(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    evaluate_models(job(tmp_path), ignore)
    assert [(line["case"], line["scores"]) for line in lines(tmp_path)] == [(w["case"], w["scores"]) for w in whole]


def test_a_finished_evaluation_started_again_changes_nothing(tmp_path: Path) -> None:
    """Not even the model has to be there any more."""
    work = job(tmp_path)
    evaluate_models(work, ignore)
    before = (tmp_path / f"out/scores/{HEX}.jsonl").read_bytes()
    work.models[0].path.unlink()
    evaluate_models(work, ignore)
    assert (tmp_path / f"out/scores/{HEX}.jsonl").read_bytes() == before


class OnlyEasy(nn.Module):
    """Answers bright images and fails at the others in a way of its own."""

    def __init__(self, failure: str) -> None:
        super().__init__()
        self.failure = failure

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.mean() > 0.3:
            return torch.tensor([[0.0, 5.0]])
        if self.failure == "raise":
            raise RuntimeError("the patient's name could stand here")
        return torch.tensor([[float("nan"), 0.0]]) if self.failure == "nan" else torch.zeros(1, 7)


@pytest.mark.parametrize("failure", ["raise", "nan", "shape"])
def test_a_case_without_an_answer_is_failed_and_not_left_out(
    tmp_path: Path, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that answers the easy cases only gains nothing, and its error text stays out of the log."""
    cohort = write_cohort(tmp_path / "cohort")
    predictor = Predictor(OnlyEasy(failure), lambda image: image, task_for(question()))
    entries = cases_of(read_manifest(cohort), "test")
    records = [predictor.record(read_case(cohort, entry, question())) for entry in entries]
    failed = [record for record in records if record["failed"]]
    assert len(records) == 6
    assert len(failed) == 3
    assert all(record["scores"] == [0.0, 1.0] for record in failed)
    assert "patient" not in caplog.text


def test_a_case_that_ends_the_process_again_and_again_is_given_up(tmp_path: Path) -> None:
    """A model that runs out of memory at one case must not keep the site from the others for ever."""
    work = job(tmp_path)
    entry = cases_of(read_manifest(work.cohort), "test")[0]
    (tmp_path / "out/scores").mkdir(parents=True)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with ScoreSheet(tmp_path / "out/scores", HEX) as sheet:
            assert sheet.begin(entry) == attempt
    evaluate_models(work, ignore)
    found = {line["case"]: line["failed"] for line in lines(tmp_path)}
    assert found.pop(entry.case) is True
    assert not any(found.values())


def test_an_unreadable_case_is_the_sites_fault_and_no_failure_of_the_model(tmp_path: Path) -> None:
    """The whole job stops with a code: a changed cohort must not be scored."""
    work = job(tmp_path)
    entry = cases_of(read_manifest(work.cohort), "test")[2]
    (work.cohort / entry.path).write_bytes(b"garbage")
    with pytest.raises(PipelineError, match="cohort-changed"):
        evaluate_models(work, ignore)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/x"])
def test_a_manifest_cannot_lead_out_of_its_cohort(path: str) -> None:
    """Even though the node wrote it."""
    with pytest.raises(ValueError, match="leads out"):
        CaseEntry(case="a", patient="b", split="test", path=path)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"image": np.zeros((1, 8, 9), np.float32)}, "image-invalid"),
        ({"image": np.zeros((1, 8, 8), np.float64)}, "image-invalid"),
        ({"label": np.array([2], np.int64)}, "label-unknown"),
    ],
)
def test_a_prepared_case_must_be_the_benchmarks(tmp_path: Path, change: dict[str, np.ndarray], code: str) -> None:
    """Shape, dtype and label are checked on every read."""
    from safetensors.numpy import load_file, save_file

    cohort = write_cohort(tmp_path / "cohort")
    entry = cases_of(read_manifest(cohort), "test")[0]
    save_file(load_file(cohort / entry.path) | change, cohort / entry.path)
    with pytest.raises(PipelineError, match=code):
        read_case(cohort, entry, question())
