"""Make a small model and run it on a phantom: proof that this machine can do the work, without any patient's image.

``python -m pipelines.phantom_run PHANTOM.npy OUT`` runs in the jail, like all work on models, and prints how long one
prediction took. A run that differs from its repetition, or is not finite, ends with an error.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from pipelines.authoring import initial_weights, make_bundle, new_profile
from pipelines.bundles import read_bundle
from pipelines.networks import load_network
from pipelines.question import InputSpec, Question

NETWORK = {"channels": [8, 16], "strides": [2, 2], "classes": 2}


def run_phantom(image: Path, out: Path) -> float:
    """Return the seconds of one prediction on an image (channels, *shape) of float32; raises ``ValueError``."""
    values = np.load(image, allow_pickle=False)
    question = Question(
        name="phantom",
        version=1,
        task="classification",
        labels=("clear", "opacity"),
        input=InputSpec(channels=values.shape[0], shape=values.shape[1:]),
    )
    profile = new_profile(question, "Classifier", {**NETWORK, "in_shape": list(values.shape)})
    bundle = out / "phantom.zip"
    words = {"title": "Phantom", "description": "Made to try a machine.", "authors": "MedSilo"}
    make_bundle(bundle, profile, initial_weights(profile, seed=0), **words)
    network = load_network(read_bundle(bundle))
    with torch.inference_mode():
        first = network(torch.from_numpy(values)[None])
        start = time.perf_counter()
        second = network(torch.from_numpy(values)[None])
        seconds = time.perf_counter() - start
    if not torch.isfinite(first).all() or not torch.equal(first, second):
        raise ValueError("the same model gives another result, or none, for the same image")
    return seconds


if __name__ == "__main__":
    print(f"{1000 * run_phantom(Path(sys.argv[1]), Path(sys.argv[2])):.0f} ms")
