"""Safetensors files for the tests of this folder, written by the reference library rather than by our own writer."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

Arrays = Mapping[str, np.ndarray]


def write(path: Path, arrays: Arrays, metadata: dict[str, str] | None = None) -> Path:
    save_file(dict(arrays), path, metadata)
    return path


def small_model(rng: np.random.Generator, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
