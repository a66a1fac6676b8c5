"""Tiny bundles and cohorts, written to disk as the real ones are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from pipelines.authoring import initial_weights, make_bundle, new_profile
from pipelines.networks import Arrays
from pipelines.question import Question, read_question

CLASSIFIER = {
    "in_shape": [1, 8, 8],
    "classes": 2,
    "channels": [4, 8],
    "strides": [2, 2],
    "num_res_units": 0,
    "act": "relu",
    "norm": ["group", {"num_groups": 2}],
}
UNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 1,
}


def definition(task: str = "classification", *, minimum: int = 5) -> dict[str, Any]:
    """A benchmark definition as JSON, with pictures of 8 x 8 or volumes of 8 x 8 x 8."""
    segmentation = task == "segmentation"
    return {
        "name": "tiny",
        "version": 1,
        "task": task,
        "labels": ["background", "core", "rim"] if segmentation else ["normal", "finding"],
        "input": {"channels": 1, "shape": [8, 8, 8] if segmentation else [8, 8]},
        "preparation": [],
        "metrics": [
            {"name": "dice", "primary": True},
            {"name": "nsd", "tolerance_mm": 1.0},
            {"name": "hd95", "cap_mm": 20.0},
        ]
        if segmentation
        else [{"name": "auroc", "primary": True}],
        "disclosure": {"minimum_class": minimum, "minimum_cell": minimum, "decimals": 4},
        "a field of a later release": True,
    }


def question(task: str = "classification", *, minimum: int = 5) -> Question:
    """The imaging's view of :func:`definition`."""
    return read_question(definition(task, minimum=minimum))


def tiny_profile(task: str = "classification") -> dict[str, Any]:
    """The manifest of a network of a few hundred parameters."""
    name, args = ("UNet", UNET) if task == "segmentation" else ("Classifier", CLASSIFIER)
    return new_profile(question(task), name, args)


def tiny_bundle(path: Path, task: str = "classification", *, weights: Arrays | None = None, seed: int = 0) -> Path:
    """A packed bundle of :func:`tiny_profile`."""
    profile = tiny_profile(task)
    make_bundle(
        path,
        profile,
        weights or initial_weights(profile, seed),
        title="Tiny",
        description="For tests.",
        authors="Test",
    )
    return path


def write_cohort(
    folder: Path, task: str = "classification", *, train: int = 12, validation: int = 10, test: int = 6
) -> Path:
    """A frozen cohort: odd cases are brighter (classification) or hold a cube in a cube (segmentation)."""
    random = np.random.default_rng(5)
    (folder / "cases").mkdir(parents=True)
    splits = ["train"] * train + ["validation"] * validation + ["test"] * test
    entries = []
    for number, split in enumerate(splits):
        name = f"{number:016x}"
        tensors = _volume(random) if task == "segmentation" else _picture(random, number % 2)
        save_file(tensors, folder / "cases" / f"{name}.safetensors")
        entries.append(
            {
                "case": name,
                "patient": f"{number // 2:016x}",
                "split": split,
                "path": f"cases/{name}.safetensors",
                "digest": "blake3:" + "0" * 64,
                "label": number % 2 if task == "classification" else None,
                "attributes": {"sex": "f" if number % 3 else "m"},
            }
        )
    (folder / "manifest.json").write_text(json.dumps({"format": "cohort/1", "cohort_id": "x", "cases": entries}))
    return folder


def _picture(random: np.random.Generator, label: int) -> dict[str, np.ndarray]:
    image = random.normal(0, 1, (1, 8, 8)).astype(np.float32)
    image[:, 2:6, 2:6] += 2 * label
    return {"image": image, "label": np.array([label], np.int64), "spacing_mm": np.ones(2, np.float32)}


def _volume(random: np.random.Generator) -> dict[str, np.ndarray]:
    label = np.zeros((8, 8, 8), np.uint8)
    label[1:7, 1:7, 1:7] = 2
    label[3:5, 3:5, 3:5] = 1
    image = (label + random.normal(0, 0.2, label.shape)).astype(np.float32)[None]
    return {"image": image, "label": label, "spacing_mm": np.array([1, 1, 2], np.float32)}
