"""What each option of a plan adds to a round, on the clock and of the processor, against plain averaging in one run.

::

    python -m tests.performance.option_cost

Four sites of made-up pictures and a small convolutional network, in one process through the simulation: local training,
scores, updates written, checked and folded. Nothing waits for a network, so what an option adds to computing stands
out. Options take turns over several runs, and the least time of each counts, on the clock and of the processor: on a
machine that does nothing else they are the same. What masks cost is measured by ``tests.performance.masking``.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from federation_hub.client.simulation import simulate
from pipelines.cohort import PreparedCase
from tests.performance.strategies import first_weights, plan_of, rounds_of, simulated
from tests.performance.tasks import SGD, Cases, Site, Study, classification

OPTIONS: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedavg, scored every 5th round": {"evaluation": {"every": 5}},
    "fedprox": {"local": {"proximal": 0.1}},
    "fedadam": {"strategy": {"name": "fedadam"}},
    "scaffold": {"strategy": {"name": "scaffold"}},
    "fedbn": {"personal": {"name": "fedbn"}},
    "ditto": {"personal": {"name": "ditto"}},
    "gate": {"gate": {"tolerance": 1.0, "veto": 1.0}},
    "alone": {"evaluation": {"alone": True}},
    "median": {"robust": {"name": "median"}},
    "half": {"compression": "half"},
    "int8": {"compression": "int8"},
    "topk": {"compression": "topk"},
    "patient DP": {"privacy": {"unit": "patient", "epsilon": 8.0, "delta": 1e-3, "spare_rounds": 0}},
    "krum, five sites": {"robust": {"name": "krum"}},
}


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in OPTIONS}
    for _ in range(given.runs):
        for name, words in OPTIONS.items():
            times[name].append(seconds_a_round(words, given.rounds))
    print("| option | ms a round | of fedavg | ms of the processor | of fedavg |")
    print("| --- | ---: | ---: | ---: | ---: |")
    least = {name: tuple(map(min, zip(*found, strict=True))) for name, found in times.items()}
    for name, found in least.items():
        columns = [f"{1000 * one:.0f} | {one / plain:.2f}" for one, plain in zip(found, least["fedavg"], strict=True)]
        print(f"| {name} | {' | '.join(columns)} |")


def seconds_a_round(words: dict[str, Any], rounds: int) -> tuple[float, float]:
    """Return the seconds of a round on the clock and of the processor, the last validation included."""
    sites = made_up(5 if words.get("robust", {}).get("name") == "krum" else 4)
    local = {"epochs": 1, "batch_size": 16, "learning_rate": 0.05, **SGD}
    study = Study(classification("made_up", (28, 28)), network, local, rounds, lambda seed: sites)
    plan = plan_of(study, words, len(sites), 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = first_weights(study, 0, folder)
        opened = {
            silo: rounds_of(study, plan, site, folder / silo) for silo, site in zip(plan.silos, sites, strict=True)
        }
        agents = simulated(plan, sites, opened)
        began, busy = time.perf_counter(), time.process_time()
        simulate(plan, start, agents, folder)
        return (time.perf_counter() - began) / rounds, (time.process_time() - busy) / rounds


def made_up(sites: int) -> list[Site]:
    """Return sites with 96 training and 24 validation pictures of noise, brighter where there is a finding."""
    made = []
    for place in range(sites):
        random = np.random.default_rng(place)
        images = random.normal(size=(120, 1, 28, 28)).astype(np.float32)
        labels = np.arange(120) % 2
        images[labels == 1] += 0.3
        cases = [PreparedCase(image, int(label), (1.0, 1.0)) for image, label in zip(images, labels, strict=True)]
        made.append(Site(f"site {place}", Cases(cases[:96]), Cases(cases[96:]), Cases([])))
    return made


def network() -> nn.Module:
    """Return a network of 0.6 million weights."""
    blocks: list[nn.Module] = []
    for before, after in ((1, 32), (32, 64), (64, 128)):
        blocks += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.ReLU()]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, 2)).eval()


if __name__ == "__main__":
    main()
