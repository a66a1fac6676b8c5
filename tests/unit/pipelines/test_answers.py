"""Models that run elsewhere: what they are shown of a case, and how little is believed of what they answer."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipelines.answers import name_of, stage_images
from pipelines.authoring import make_container_bundle
from pipelines.bundles import read_bundle, weights_file
from pipelines.container import ContainerModel
from pipelines.errors import PipelineError
from pipelines.inference import evaluate_models
from pipelines.job import EvaluateJob, ModelFile, StageJob
from pipelines.networks import load_network
from tests.unit.pipelines.examples import definition, question, write_cohort

MODEL = "blake3:" + "c" * 64
CONTAINER = ContainerModel(image="example.org/model@sha256:" + "a" * 64, command=("/predict",))


def bundle(tmp_path: Path, task: str = "classification") -> Path:
    out = tmp_path / "contained.zip"
    found = make_container_bundle(out, question(task), CONTAINER, title="T", description="d", authors="a")
    assert (found.tier, found.container) == (3, CONTAINER)
    return out


def staged(tmp_path: Path, task: str = "classification") -> Path:
    out = tmp_path / "shown"
    out.mkdir()
    cohort = write_cohort(tmp_path / "cohort", task)
    stage_images(StageJob(cohort=cohort, definition=definition(task), bundle=bundle(tmp_path, task), out=out))
    return out


def scored(tmp_path: Path, task: str = "classification") -> list[dict[str, object]]:
    """Score the answers in the folder ``answered``."""
    model = ModelFile(digest=MODEL, path=tmp_path / "contained.zip", answers=tmp_path / "answered", seconds=0.25)
    job = EvaluateJob(cohort=tmp_path / "cohort", definition=definition(task), models=(model,), out=tmp_path / "out")
    evaluate_models(job, lambda done, total: None)
    return [json.loads(line) for line in (tmp_path / f"out/scores/{'c' * 64}.jsonl").read_text().splitlines()]


def test_nothing_of_a_case_is_shown_but_its_image(tmp_path: Path) -> None:
    """No label, no spacing, no name: a file's number is its place in the split."""
    out = staged(tmp_path)
    assert sorted(path.name for path in out.iterdir()) == [*(name_of(place) for place in range(6)), "question.json"]
    assert {tuple(load_file(path)) for path in out.glob("*.safetensors")} == {("image",)}
    asked = json.loads((out / "question.json").read_text())
    assert set(asked) == {"format", "task", "labels", "cases", "input"}
    assert asked["cases"] == 6


def test_honest_answers_are_scored_by_the_kits_own_code(tmp_path: Path) -> None:
    """A brightness threshold separates these pictures."""
    out, answered = staged(tmp_path), tmp_path / "answered"
    answered.mkdir()
    for path in out.glob("*.safetensors"):
        brightness = float(load_file(path)["image"][:, 2:6, 2:6].mean())
        save_file({"logits": np.array([0, brightness - 1], np.float32)}, answered / path.name)
    lines = scored(tmp_path)
    assert not any(line["failed"] for line in lines)
    assert all((line["scores"][1] > 0.5) == (line["label"] == 1) for line in lines)  # type: ignore[index]
    assert {line["seconds"] for line in lines} == {0.25}


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    "answer",
    [
        lambda path: None,
        link,
        lambda path: path.write_bytes(b"garbage"),
        lambda path: path.mkdir(),
        lambda path: save_file({"logits": np.zeros(3, np.float32)}, path),
        lambda path: save_file({"logits": np.zeros(2, np.float64)}, path),
        lambda path: save_file({"logits": np.array([np.nan, 0], np.float32)}, path),
        lambda path: save_file({"other": np.zeros(2, np.float32)}, path),
        lambda path: save_file({"logits": np.zeros(2, np.float32), "image": np.zeros(100, np.float32)}, path),
        lambda path: save_file({"logits": np.zeros(2, np.float32)}, path, metadata={"note": "x" * 9000}),
        lambda path: os.truncate(path, 10**9) if path.touch() is None else None,
    ],
    ids=["none", "link", "garbage", "folder", "shape", "dtype", "nan", "name", "more", "text", "gigabyte"],
)
def test_any_other_answer_is_a_failed_case_and_never_left_out(tmp_path: Path, answer: Callable[[Path], object]) -> None:
    """Scored with the worst value, like a network that fails."""
    staged(tmp_path)
    (tmp_path / "answered").mkdir()
    for place in range(6):
        if place:
            save_file({"logits": np.zeros(2, np.float32)}, tmp_path / "answered" / name_of(place))
    answer(tmp_path / "answered" / name_of(0))
    lines = scored(tmp_path)
    assert [line["failed"] for line in lines] == [True] + [False] * 5


def test_a_segmentation_answers_with_a_label_map_on_the_images_grid(tmp_path: Path) -> None:
    """A label beyond the benchmark's is no answer."""
    staged(tmp_path, "segmentation")
    (tmp_path / "answered").mkdir()
    for place in range(6):
        label = np.full((8, 8, 8), 2 if place else 9, np.uint8)
        save_file({"label": label}, tmp_path / "answered" / name_of(place))
    lines = scored(tmp_path, "segmentation")
    assert [line["failed"] for line in lines] == [True] + [False] * 5


def test_a_container_is_never_loaded_here_nor_trained(tmp_path: Path) -> None:
    """There is nothing of it to load, and no weights that could be averaged."""
    found = read_bundle(bundle(tmp_path))
    with pytest.raises(PipelineError, match="model-incompatible"):
        load_network(found)
    with pytest.raises(PipelineError, match="model-incompatible"):
        weights_file(found, tmp_path / "w")
