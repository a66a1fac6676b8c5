"""Transforms and the prepare job: exact names, deterministic results, one bad case never stops the others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from safetensors.numpy import load_file, save_file

from pipelines.bundles.transforms import TRANSFORMS, check_transforms, transform_arguments
from pipelines.errors import PipelineError
from pipelines.job import PrepareJob
from pipelines.preparation import transforms
from pipelines.preparation.prepare import prepare_cases
from pipelines.preparation.transforms import build_preprocessing, build_transforms
from pipelines.question import TransformSpec

ARGUMENTS: dict[str, dict[str, Any]] = {
    "Spacingd": {"pixdim": [2.0, 2.0, 2.0]},
    "Resized": {"spatial_size": [4, 5, 6]},
    "ResizeWithPadOrCropd": {"spatial_size": [4, 12, 8]},
    "SpatialPadd": {"spatial_size": [12, 12, 12]},
    "CenterSpatialCropd": {"roi_size": [4, 4, 4]},
    "DivisiblePadd": {"k": 16},
    "BorderPadd": {"spatial_border": [2]},
    "Flipd": {"spatial_axis": [0]},
    "ScaleIntensityRanged": {"a_min": -1.0, "a_max": 1.0, "clip": True},
    "ScaleIntensityRangePercentilesd": {"lower": 1, "upper": 99},
    "ClipIntensityPercentilesd": {"lower": 1, "upper": 99},
    "ThresholdIntensityd": {"threshold": 0.0},
    "ShiftIntensityd": {"offset": 1.5},
    "StdShiftIntensityd": {"factor": 0.5},
    "AdjustContrastd": {"gamma": 0.7},
}


def sample() -> dict[str, Any]:
    """A volume and its label map, which is the image's sign."""
    image = np.random.default_rng(1).normal(size=(1, 8, 8, 8)).astype(np.float32)
    label = (image > 0).astype(np.float32)
    return {name: MetaTensor(torch.from_numpy(array.copy())) for name, array in (("image", image), ("label", label))}


def spec(name: str, args: dict[str, Any] | None = None) -> TransformSpec:
    return TransformSpec(name=name, args=args or {})


def test_every_listed_transform_has_a_class_and_nothing_else_has() -> None:
    """The list without torch and the dictionary of classes name the same transforms."""
    assert set(TRANSFORMS) == set(transforms._CLASSES)


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_every_transform_is_deterministic_and_keeps_labels_labels(name: str) -> None:
    """Twice the same, image and label on one grid, and no label between two labels."""
    specs = [spec(name, ARGUMENTS.get(name))]
    first, again = (build_transforms(specs, with_label=True)(sample()) for _ in range(2))
    assert torch.equal(first["image"].as_tensor(), again["image"].as_tensor())
    assert first["image"].shape == first["label"].shape
    assert set(np.unique(first["label"].numpy())) <= {0.0, 1.0}
    if TRANSFORMS[name].kind == "intensity":
        assert torch.equal(first["label"].as_tensor(), sample()["label"].as_tensor())


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_no_transform_takes_keys_or_anything_undeclared(name: str) -> None:
    """Which of image and label a transform touches is the kit's decision."""
    for extra in ({"keys": ["label"]}, {"allow_missing_keys": True}, {"_target_": "os.system"}):
        with pytest.raises(PipelineError, match="transform-argument-invalid"):
            transform_arguments(name, {**ARGUMENTS.get(name, {}), **extra})


def test_a_name_that_is_not_listed_is_refused() -> None:
    """Random transforms, loaders, and whatever else MONAI exports."""
    for name in ("RandFlipd", "LoadImaged", "Lambdad", "Compose"):
        with pytest.raises(PipelineError, match="transform-unknown"):
            check_transforms([spec(name)])


def test_an_absurd_size_is_refused_before_memory_is_taken() -> None:
    """4096 cubed voxels are 256 gigabytes."""
    with pytest.raises(PipelineError, match="transform-argument-invalid"):
        check_transforms([spec("Resized", {"spatial_size": [4096, 4096, 4096]})])


def test_a_models_own_preprocessing_sees_the_image_alone() -> None:
    """And leaves the prepared case as it was."""
    image = np.full((1, 4, 4), 3.0, np.float32)
    assert build_preprocessing([spec("ShiftIntensityd", {"offset": 1.0})])(image).tolist() == (image + 1).tolist()
    assert image.max() == 3
    assert build_preprocessing([])(image) is image


def raw_case(folder: Path, image: np.ndarray, *, label: int | np.ndarray | None, **more: Any) -> None:
    """A raw case as intake writes it."""
    folder.mkdir(parents=True)
    save_file({"image": image}, folder / "image.safetensors")
    if isinstance(label, np.ndarray):
        save_file({"label": label}, folder / "label.safetensors")
    record = {"case": folder.name, "patient": "p", "label": label if isinstance(label, int) else None, "affine": None}
    record |= {"spacing_mm": [0.5, 0.5], "split": None, "attributes": {}, **more}
    (folder / "case.json").write_text(json.dumps(record))


def prepare(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Run a prepare job and return its report."""
    words = {
        "raw": tmp_path / "raw",
        "out": tmp_path / "out",
        "task": "classification",
        "labels": ["normal", "finding"],
        "input": {"channels": 1, "shape": [4, 4]},
        "preparation": [{"name": "Resized", "args": {"spatial_size": [4, 4]}}],
    }
    prepare_cases(PrepareJob.model_validate(words | changes), lambda done, total: None)
    report: dict[str, Any] = json.loads((tmp_path / "out/prepared.json").read_text())
    return report


def test_pictures_are_prepared_with_their_spacing(tmp_path: Path) -> None:
    """Halving the number of pixels doubles the spacing; integer pixels become float32."""
    raw_case(tmp_path / "raw/a1", np.arange(64, dtype=np.int16).reshape(8, 8), label=1)
    assert prepare(tmp_path) == {"cases": [{"case": "a1", "label": 1}], "refused": []}
    case = load_file(tmp_path / "out/cases/a1.safetensors")
    assert case["image"].shape == (1, 4, 4)
    assert case["image"].dtype == np.float32
    assert case["image"][0, 0, 0] == np.mean([0, 1, 8, 9])
    assert case["label"].tolist() == [1]
    assert case["spacing_mm"].tolist() == [1.0, 1.0]


def test_a_bad_case_is_refused_with_its_code_and_the_others_go_on(tmp_path: Path) -> None:
    """No label, a label out of range, three axes, a NaN, no file at all."""
    raw = tmp_path / "raw"
    good = np.ones((8, 8), np.float32)
    raw_case(raw / "a0", good, label=0)
    raw_case(raw / "a1", good, label=None)
    raw_case(raw / "a2", good, label=2)
    raw_case(raw / "a3", np.ones((8, 8, 8), np.float32), label=0)
    raw_case(raw / "a4", np.full((8, 8), np.nan, np.float32), label=0)
    raw_case(raw / "a5", good, label=0)
    (raw / "a5/image.safetensors").write_bytes(b"garbage")
    raw_case(raw / "a6", good, label=0)
    (raw / "a6/case.json").unlink()
    report = prepare(tmp_path)
    assert [case["case"] for case in report["cases"]] == ["a0"]
    assert {case["case"]: case["code"] for case in report["refused"]} == {
        "a1": "case-without-label",
        "a2": "label-unknown",
        "a3": "image-invalid",
        "a4": "image-invalid",
        "a5": "image-invalid",
        "a6": "image-invalid",
    }


def test_a_volume_is_turned_resampled_and_cropped_with_its_label(tmp_path: Path) -> None:
    """A left-posterior volume of 2 mm comes out right-anterior at 1 mm, its label map beside it."""
    label = np.zeros((6, 6, 6), np.uint8)
    label[0, 5, 2] = 2
    affine = np.diag([-2.0, -2.0, 2.0, 1.0]).tolist()
    raw_case(tmp_path / "raw/a1", label.astype(np.float32), label=label, affine=affine, spacing_mm=[2, 2, 2])
    report = prepare(
        tmp_path,
        task="segmentation",
        labels=["background", "core", "rim"],
        input={"channels": 1, "shape": [12, 12, 12]},
        preparation=[
            {"name": "Orientationd", "args": {"axcodes": "RAS"}},
            {"name": "Spacingd", "args": {"pixdim": [1.0, 1.0, 1.0]}},
            {"name": "ResizeWithPadOrCropd", "args": {"spatial_size": [12, 12, 12]}},
        ],
    )
    assert report["refused"] == []
    case = load_file(tmp_path / "out/cases/a1.safetensors")
    place = np.argwhere(case["label"] == 2).mean(axis=0)
    assert case["label"].dtype == np.uint8
    assert np.allclose(case["spacing_mm"], 1)
    assert place[0] > 8
    assert place[1] < 3
    assert 3 <= place[2] <= 6


def test_a_label_map_with_an_unknown_value_is_refused(tmp_path: Path) -> None:
    """A fourth structure in a benchmark of two is a fault of the data."""
    label = np.full((4, 4, 4), 3, np.uint8)
    raw_case(tmp_path / "raw/a1", label.astype(np.float32), label=label)
    report = prepare(
        tmp_path,
        task="segmentation",
        labels=["background", "core", "rim"],
        input={"channels": 1, "shape": [4, 4, 4]},
        preparation=[],
    )
    assert report["refused"] == [{"case": "a1", "code": "label-unknown"}]
