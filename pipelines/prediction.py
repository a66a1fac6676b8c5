"""A segmentation model's answer to one raw case, on the case's own voxels.

The case is prepared as the benchmark says, the model answers on the prepared grid, and each of the case's own voxels
takes the label of the prepared voxel that lies where it lies. What preparation cut off is background.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from pipelines.bundles.bundle import read_bundle
from pipelines.bundles.profile import refuse_incompatible
from pipelines.cohort import LabelArray
from pipelines.errors import PipelineError
from pipelines.job import PredictJob, PrepareJob
from pipelines.networks import load_network
from pipelines.preparation.prepare import meta_tensor, read_raw
from pipelines.preparation.transforms import build_preprocessing, build_transforms, to_array
from pipelines.question import Question, read_question
from pipelines.tasks.segmentation import Segmentation

_BLOCK = 2**20


def predict_case(job: PredictJob) -> None:
    """Write ``out/label.safetensors``: ``label``, uint8 on the voxels of ``raw/image.safetensors``.

    Raises ``model-incompatible`` for a question that is no segmentation, a bundle's own code, ``image-invalid``.
    """
    question = read_question(job.definition)
    if question.task != "segmentation":
        raise PipelineError("model-incompatible", "the benchmark asks for no segmentation")
    image = meta_tensor(job.raw / "image.safetensors", "image", read_raw(job.raw), _as_preparation(job, question))
    native, shape = np.asarray(image.affine, dtype=np.float64), tuple(image.shape[1:])
    prepared = build_transforms(question.preparation, with_label=False)({"image": image})["image"]
    answered = _answer(job.bundle, question, to_array(prepared))
    label = on_voxels(answered, np.asarray(prepared.affine, dtype=np.float64), native, shape)
    save_file({"label": label}, job.out / "label.safetensors")


def on_voxels(labels: LabelArray, affine: Any, onto: Any, shape: tuple[int, ...]) -> LabelArray:
    """Return a label map on another grid by the nearest voxel; ``affine`` and ``onto`` are voxel to world, 4x4.

    ``labels`` and ``shape`` have two or three axes; axes beyond them are not looked at.
    """
    axes = len(shape)
    there = np.linalg.inv(affine) @ onto
    result = np.zeros(int(np.prod(shape)), np.uint8)
    for start in range(0, result.size, _BLOCK):
        flat = np.arange(start, min(start + _BLOCK, result.size))
        index = np.stack(np.unravel_index(flat, shape)).astype(np.float64)
        place = np.rint(there[:axes, :axes] @ index + there[:axes, 3:4]).astype(np.int64)
        inside = np.all((place >= 0) & (place < np.array(labels.shape)[:, None]), axis=0)
        result[flat[inside]] = labels[tuple(place[:, inside])]
    return result.reshape(shape)


def _answer(bundle_path: Path, question: Question, image: Any) -> LabelArray:
    bundle = read_bundle(bundle_path)
    refuse_incompatible(bundle.profile, question)
    network, preprocess = load_network(bundle).eval(), build_preprocessing(bundle.profile.preprocessing)
    with torch.inference_mode():
        return Segmentation(question).predict(network(torch.from_numpy(preprocess(image))[None]))


def _as_preparation(job: PredictJob, question: Question) -> PrepareJob:
    return PrepareJob(
        raw=job.raw,
        out=job.out,
        task=question.task,
        labels=question.labels,
        input=question.input,
        preparation=question.preparation,
    )
