"""The check job: everything about a bundle that needs torch, done once and without any patient's data.

A hub's own check node and ``medsilo model check`` run it in the sandbox after the static inspection.
"""

import json
import time
from typing import Any

import numpy as np
import torch

from pipelines.bundles.bundle import Bundle, inspect_bundle, read_bundle
from pipelines.errors import PipelineError
from pipelines.job import CheckJob
from pipelines.networks import load_network
from pipelines.preparation.transforms import build_preprocessing


def check_bundle(job: CheckJob) -> None:
    """Inspect a bundle, load its weights exactly, run it once; writes ``check.json``.

    ``check.json`` holds ``network``, ``parameters``, ``weights_bytes`` and ``seconds`` of one prediction. Raises the
    codes of :func:`~pipelines.bundles.inspect_bundle`, ``weights-mismatch``, and ``model-incompatible`` where the
    network cannot take the input or gives another shape than the task needs.
    """
    inspection = inspect_bundle(job.bundle, job.definition)
    bundle = read_bundle(job.bundle)
    found: dict[str, Any] = {
        "network": inspection.profile.network_name,
        "parameters": inspection.parameters,
        "weights_bytes": inspection.weights_bytes,
        "seconds": round(run_once(bundle), 4),
    }
    partial = job.out / "check.json.partial"
    partial.write_text(json.dumps(found))
    partial.replace(job.out / "check.json")


def run_once(bundle: Bundle) -> float:
    """Predict one made-up image and return the seconds; raises ``model-incompatible``."""
    network = load_network(bundle)
    profile = bundle.profile
    image = np.random.default_rng(0).random((profile.input.channels, *profile.input.shape), dtype=np.float32)
    start = time.perf_counter()
    try:
        prepared = build_preprocessing(profile.preprocessing)(image)
        with torch.inference_mode():
            output = network(torch.from_numpy(prepared)[None])
    except (RuntimeError, ValueError, TypeError, IndexError):
        raise PipelineError("model-incompatible", "the network cannot take the benchmark's input") from None
    tail = () if profile.task == "classification" else profile.input.shape
    if tuple(output.shape) != (1, len(profile.labels), *tail):
        raise PipelineError("model-incompatible", "the network's output is not one value or map a label")
    return time.perf_counter() - start
