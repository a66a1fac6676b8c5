"""Small preparations for the cohort's tests, written from the contract and without the pipelines' torch."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from silo_node.wire.benchmarks import BenchmarkDefinition, InputSpec, MetricSpec, SplitSpec


def classification(
    *, name: str = "little_xray", modality: str = "DX", split: SplitSpec | None = None, shape: tuple[int, ...] = (8, 8)
) -> BenchmarkDefinition:
    """Return a benchmark of two classes over small images."""
    return BenchmarkDefinition(
        name=name,
        version=1,
        title="Little X-rays",
        summary="Which little X-rays show pneumonia?",
        task="classification",
        modality=modality,
        provenance="synthetic",
        data_source="made here",
        licence="CC0-1.0",
        labels=("normal", "pneumonia"),
        input=InputSpec(channels=1, shape=shape),
        preparation=(),
        split=split or SplitSpec(),
        metrics=(MetricSpec(name="auroc", primary=True),),
    )


def segmentation(*, shape: tuple[int, ...] = (6, 7, 8)) -> BenchmarkDefinition:
    """Return a benchmark of two structures over small volumes."""
    return BenchmarkDefinition(
        name="little_volumes",
        version=1,
        title="Little volumes",
        summary="Where are the two structures?",
        task="segmentation",
        modality="MR",
        provenance="synthetic",
        data_source="made here",
        licence="CC0-1.0",
        labels=("background", "anterior", "posterior"),
        input=InputSpec(channels=1, shape=shape),
        preparation=(),
        metrics=(MetricSpec(name="dice", primary=True),),
    )


def fit(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    """Cut or pad each case to the benchmark's shape."""
    done = []
    for folder in sorted(raw.iterdir()):
        record = json.loads((folder / "case.json").read_bytes())
        tensors = {
            "image": _fit(load_file(folder / "image.safetensors")["image"], definition)[None].astype(np.float32),
            "spacing_mm": np.array(record["spacing_mm"], np.float32),
        }
        if definition.task == "classification":
            tensors["label"] = np.array([record["label"]], np.int64)
        else:
            tensors["label"] = _fit(load_file(folder / "label.safetensors")["label"], definition)
        save_file(tensors, out / "cases" / f"{folder.name}.safetensors")
        done.append({"case": folder.name, "label": record["label"]})
    (out / "prepared.json").write_text(json.dumps({"cases": done, "refused": []}))


def _fit(values: np.ndarray, definition: BenchmarkDefinition) -> np.ndarray:
    shape = definition.input.shape
    cut = values[tuple(slice(0, extent) for extent in shape)]
    return np.pad(cut, [(0, extent - have) for extent, have in zip(shape, cut.shape, strict=True)])
