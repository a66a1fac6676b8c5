"""The prepare job: each raw case through the benchmark's transforms into one safetensors file.

A case that cannot be prepared is refused with a code, and the others go on; what was wrong with it stays in the site.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pipelines.cohort import FloatArray
from pipelines.errors import PipelineError
from pipelines.job import PrepareJob
from pipelines.preparation.transforms import Data, build_transforms, to_array

logger = logging.getLogger(__name__)


class RawCase(BaseModel):
    """``case.json`` of a raw case, as far as preparation needs it."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    case: str
    label: int | None = None
    affine: list[list[float]] | None = None
    spacing_mm: tuple[float, ...] = ()


def prepare_cases(job: PrepareJob, progress: Callable[[int, int], None]) -> None:
    """Prepare every folder of ``job.raw``; writes ``cases/*.safetensors`` and ``prepared.json`` under ``job.out``."""
    apply = build_transforms(job.preparation, with_label=job.task == "segmentation")
    folders = sorted(path for path in job.raw.iterdir() if path.is_dir())
    (job.out / "cases").mkdir(parents=True, exist_ok=True)
    done: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for count, folder in enumerate(folders):
        progress(count, len(folders))
        try:
            tensors = prepare_case(folder, job, apply)
        except PipelineError as error:
            refused.append({"case": folder.name, "code": error.code})
            continue
        save_file(tensors, job.out / "cases" / f"{folder.name}.safetensors")
        label = int(tensors["label"][0]) if job.task == "classification" else None
        done.append({"case": folder.name, "label": label})
    (job.out / "prepared.json").write_text(json.dumps({"cases": done, "refused": refused}))
    progress(len(folders), len(folders))


def prepare_case(folder: Path, job: PrepareJob, apply: Callable[[Data], Data]) -> dict[str, np.ndarray[Any, Any]]:
    """Prepare one raw case; raises ``image-invalid``, ``case-without-label`` or ``label-unknown``."""
    raw = read_raw(folder)
    data: Data = {"image": meta_tensor(folder / "image.safetensors", "image", raw, job)}
    if job.task == "segmentation":
        data["label"] = meta_tensor(folder / "label.safetensors", "label", raw, job)
        if data["label"].shape[1:] != data["image"].shape[1:]:
            raise PipelineError("image-invalid", "image and label differ in shape")
    try:
        data = apply(data)
    except Exception as error:
        # MONAI and torch raise whatever they like on a strange image; its message may quote voxels, so only its kind
        # is kept, and one bad case must not stop the others.
        logger.warning("a case could not be prepared: %s", type(error).__name__)
        raise PipelineError("image-invalid", "a transform failed") from None
    return _checked(data, raw, job)


def read_raw(folder: Path) -> RawCase:
    """Return a raw case's record; raises ``image-invalid``."""
    try:
        return RawCase.model_validate_json((folder / "case.json").read_bytes())
    except (OSError, ValidationError):
        raise PipelineError("image-invalid", "case.json is missing or not sound") from None


def meta_tensor(path: Path, name: str, raw: RawCase, job: PrepareJob) -> MetaTensor:
    """Return a raw case's image or label map as MONAI takes it, placed by the case's affine."""
    try:
        array = load_file(path)[name]
    except FileNotFoundError:
        raise PipelineError("case-without-label" if name == "label" else "image-invalid", path.name) from None
    except (OSError, SafetensorError, KeyError):
        raise PipelineError("image-invalid", f"{path.name} cannot be read") from None
    if array.ndim == job.input.dimensions:
        array = array[None]
    channels = 1 if name == "label" else job.input.channels
    if array.ndim != job.input.dimensions + 1 or array.shape[0] != channels or array.size == 0:
        raise PipelineError("image-invalid", f"{name} has another number of axes or channels than the benchmark's")
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return MetaTensor(tensor, affine=torch.as_tensor(_affine(raw), dtype=torch.float64))


def _affine(raw: RawCase) -> np.ndarray[Any, np.dtype[np.float64]]:
    steps = [*raw.spacing_mm, 1.0, 1.0, 1.0][:3]
    affine: np.ndarray[Any, np.dtype[np.float64]] = np.array(raw.affine or np.diag([*steps, 1.0]), dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise PipelineError("image-invalid", "the affine is not 4 x 4")
    return affine


def _checked(data: Data, raw: RawCase, job: PrepareJob) -> dict[str, np.ndarray[Any, Any]]:
    image = to_array(data["image"])
    if image.shape != (job.input.channels, *job.input.shape) or not np.isfinite(image).all():
        raise PipelineError("image-invalid", "the prepared image has another shape, or is not finite")
    affine = np.asarray(data["image"].affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, : job.input.dimensions], axis=0).astype(np.float32)
    return {"image": image, "label": _label(data, raw, job), "spacing_mm": spacing}


def _label(data: Data, raw: RawCase, job: PrepareJob) -> np.ndarray[Any, Any]:
    if job.task == "classification":
        if raw.label is None:
            raise PipelineError("case-without-label", "no label")
        if not 0 <= raw.label < len(job.labels):
            raise PipelineError("label-unknown", "the label is not in the benchmark's list")
        return np.array([raw.label], dtype=np.int64)
    label: FloatArray = to_array(data["label"])[0]
    if not np.isin(label, np.arange(len(job.labels))).all():
        raise PipelineError("label-unknown", "the label map has a value outside the benchmark's list")
    return label.astype(np.uint8)
