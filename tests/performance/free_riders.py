"""How often the marks on updates that need no training find a free rider, and how often they wrong an honest site.

::

    python -m tests.performance.free_riders heart --data ../shared/data/heart-disease

Federated averaging as in the tables of strategies, over real data; one site, another with each seed, sends each of
these in place of its training. The table holds the share of its updates that were marked, and of the honest sites', in
percent over all rounds but the first, where there is no last change yet, and all seeds.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from federation_hub.aggregation.fold import Update
from federation_hub.aggregation.free_riders import marks, measure
from federation_hub.client.simulation import Answer, Ask, SimulatedSite, Simulation, simulate
from silo_node.wire.studies import StudyPlan
from tests.performance.strategies import first_weights, plan_of, rounds_of, simulated
from tests.performance.tasks import TASKS, Study

Arrays = dict[str, np.ndarray]
Lie = Callable[[Arrays, np.random.Generator, Arrays], Arrays]
"""``(last change, random, own honest update)``: what is sent in place of the latter."""


def with_noise(share: float) -> Lie:
    """Send the last change under noise of a share of its standard deviation."""

    def lie(last: Arrays, random: np.random.Generator, own: Arrays) -> Arrays:
        deviation = share * float(np.concatenate([part.ravel() for part in last.values()]).std())
        return {name: part + random.normal(0, deviation, part.shape) for name, part in last.items()}

    return lie


LIES: dict[str, Lie | None] = {
    "nobody": None,
    "the model as it came": lambda last, random, own: {name: 0 * part for name, part in last.items()},
    "its training, a hundredth of it": lambda last, random, own: {name: 0.01 * part for name, part in own.items()},
    "the last change": with_noise(0),
    "the last change, a tenth of noise": with_noise(0.1),
    "the last change, as much noise": with_noise(1),
}


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| sent in place of training | the free rider's, marked | honest ones, marked |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name:
        study = TASKS[given.task](given.data, Path(name))
        for place, (words, lie) in enumerate(LIES.items()):
            found = [one_run(study, seed, lie, Path(name) / f"{place}.{seed}") for seed in range(given.seeds)]
            rider, honest = (np.concatenate([run[side] for run in found]) for side in (0, 1))
            caught = f"{100 * rider.mean():.0f} % of {len(rider)}" if lie else ""
            print(f"| {words} | {caught} | {100 * honest.mean():.1f} % of {len(honest)} |", flush=True)


def one_run(study: Study, seed: int, lie: Lie | None, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return for each update of the liar, and for each honest one, whether it was marked."""
    folder.mkdir()
    sites = study.sites(seed)
    plan = plan_of(study, {}, len(sites), seed)
    start = first_weights(study, seed, folder)
    opened = {silo: rounds_of(study, plan, site, folder / silo) for silo, site in zip(plan.silos, sites, strict=True)}
    liar = plan.silos[seed % len(plan.silos)] if lie is not None else ""
    random = np.random.default_rng(seed)
    agents = [
        replace(agent, train=kept(agent, folder, lie if agent.silo_id == liar else None, random))
        for agent in simulated(plan, sites, opened)
    ]
    told = list(judged(plan, simulate(plan, start, agents, folder), folder, agents))
    return tuple(  # type: ignore[return-value]  # two arrays
        np.array([marked for silo, marked in told if (silo == liar) is lies], bool) for lies in (True, False)
    )


def kept(agent: SimulatedSite, folder: Path, lie: Lie | None, random: np.random.Generator) -> Callable[[Ask], Answer]:
    """Return the site's training with a copy of each update kept, and a lie in its place."""
    seen: list[Arrays] = []

    def train(ask: Ask) -> Answer:
        answer = agent.train(ask)
        if answer.update is None:
            return answer
        path = folder / f"{agent.silo_id}.{ask.round}.kept"
        shutil.copyfile(answer.update, path)
        seen.append(load_file(ask.weights))
        if lie is not None and len(seen) > 1:
            last = {name: part - seen[-2][name] for name, part in seen[-1].items()}
            sent = lie(last, random, load_file(path))
            save_file({name: np.asarray(part, np.float32) for name, part in sent.items()}, path)
        return replace(answer, update=path)

    return train


def judged(plan: StudyPlan, done: Simulation, folder: Path, agents: list[SimulatedSite]) -> list[tuple[str, bool]]:
    """Return for each update after the first round whose it was and whether it was marked."""
    told = []
    for earlier, entry in zip(done.rounds, done.rounds[1:], strict=False):
        paths = {agent.silo_id: folder / f"{agent.silo_id}.{entry.number}.kept" for agent in agents}
        if entry.model is None:
            continue
        updates = [
            Update(agent.silo_id, paths[agent.silo_id], agent.weight, steps=plan.local.steps(agent.weight))
            for agent in agents
        ]
        found = marks(measure(entry.base.path, earlier.base.path, updates))
        told += [(silo, silo in found) for silo in paths]
    return told


if __name__ == "__main__":
    main()
