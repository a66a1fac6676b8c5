"""What a promise to patients costs in accuracy: federated training on real X-rays at several epsilons, and without one.

::

    python -m tests.performance.private_accuracy --data ../shared/data/pneumoniamnist

PneumoniaMNIST, each image a patient, halved to 14 x 14, and a network of 32 hidden units. *four sites*: the four of
``strategies``, made by a Dirichlet(0.5) deal, averaged by their training cases; every site keeps the promise to its own
patients. *one site*: one that holds them all, with four times the patients a step. Both run through the simulation, so
DP-SGD and accounting are those of a study; the noise comes from the seed. AUROC over all published test images of the
model after the last round, since a choice by validation scores is not covered by the promise. Mean and 95 % t-interval
over the seeds. Without a promise the same rounds, steps, rate and patients a step, nothing clipped, no noise.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file
from torch import nn

from federation_hub.client.simulation import simulate
from tests.performance.strategies import first_weights, interval, plan_of, rounds_of, simulated, tested
from tests.performance.tasks import SGD, Site, Study, joined, pneumonia

EPSILONS = (None, 8.0, 3.0, 1.0, 0.1)
PATIENTS, STEPS, ROUNDS, RATE = 64, 8, 8, 0.5
LAST = {"evaluation": {"keep": "last", "every": ROUNDS}}


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| epsilon of a patient | four sites | one site | s |\n| --- | ---: | ---: | ---: |", flush=True)
    for epsilon in EPSILONS:
        began = time.process_time()
        columns = [
            interval([one_auroc(given.data, epsilon, seed, together=together) for seed in range(given.seeds)])
            for together in (False, True)
        ]
        name = "no promise" if epsilon is None else f"{epsilon:g}"
        print(f"| {name} | {' | '.join(columns)} | {time.process_time() - began:.0f} |", flush=True)


def one_auroc(data: Path, epsilon: float | None, seed: int, *, together: bool) -> float:
    """Train once and return the AUROC over all test images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = budget(data, folder, sites=4 if together else 1)
        sites = study.sites(seed)
        sites = [all_in_one(sites)] if together else sites
        plan = plan_of(study, LAST | promise(epsilon), len(sites), seed)
        start = first_weights(study, seed, folder)
        opened = {
            silo: rounds_of(study, plan, site, folder / silo) for silo, site in zip(plan.silos, sites, strict=True)
        }
        done = simulate(plan, start, simulated(plan, sites, opened), folder)
        assert done.final is not None
        assert done.final.made == ROUNDS
        model = load_file(done.final.path)
        return tested(study, [model] * len(sites), sites, ROUNDS, ROUNDS, 0.0, 0.0).pooled_test


def budget(data: Path, folder: Path, *, sites: int) -> Study:
    """Return the pneumonia study with the steps and the patients a step that all rows share."""
    study = pneumonia(data, folder)
    study.rounds, study.network = ROUNDS, network
    study.local = {"epochs": STEPS, "batch_size": PATIENTS * sites, "learning_rate": RATE, "max_steps": STEPS, **SGD}
    return study


def network() -> nn.Module:
    """Return a network of 6,370 weights."""
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(196, 32), nn.ReLU(), nn.Linear(32, 2)).eval()


def all_in_one(sites: list[Site]) -> Site:
    """Return a site that holds what all of them hold."""
    parts = [joined([getattr(site, part) for site in sites]) for part in ("train", "validation", "test")]
    return Site("one site", *parts)


def promise(epsilon: float | None) -> dict[str, Any]:
    """Return the part of a plan that promises so much."""
    if epsilon is None:
        return {}
    return {"privacy": {"unit": "patient", "epsilon": epsilon, "delta": 1e-4, "clipping_norm": 1.0, "spare_rounds": 0}}


if __name__ == "__main__":
    main()
