"""Strategies on real data: every one on the same sites, seeds and budget, beside each site alone and all cases pooled.

::

    python -m tests.performance.strategies heart --data ../shared/data/heart-disease
    python -m tests.performance.strategies pneumonia --data ../shared/data/pneumoniamnist
    python -m tests.performance.strategies hippocampus --data ../shared/data/hippocampus
    python -m tests.performance.strategies hippocampus --data ../shared/data/hippocampus --only fedavg,ditto --seeds 1

Heart: the four real hospitals of the UCI data, cleaned as FLamby does, two thirds of each for training. Pneumonia: four
sites made by a Dirichlet(0.5) deal of each class. Hippocampus: the demonstration's four simulated scanners. Everything
runs through the simulation, so through the federation's own strategies, training and choice of the best round; the
table is about test cases, which nothing was chosen by. Mean and 95 % t-interval over seeds, which change the first
weights, the order of cases and (heart, pneumonia) who is where. Prints one line a strategy as it is done. With FedAvg
each site also trains alone, as many rounds and steps; its line has what that takes, FedAvg's has not.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from scipy.stats import t

from federation_hub.client.arrivals import Arrivals
from federation_hub.client.baselines import beside_alone
from federation_hub.client.simulated_sites import SiteAgent, simulated_privacy
from federation_hub.client.simulation import SimulatedSite, Simulation, simulate
from pipelines.inference import Predictor
from pipelines.job import Keeping, LocalTraining
from pipelines.memory import mixed, norm_names
from pipelines.networks import Arrays, load_arrays, to_arrays
from pipelines.privacy.training import PrivateTrainer
from pipelines.question import Question
from pipelines.session import OWN, PERSONAL, TrainingRounds
from pipelines.tasks import task_for
from pipelines.tasks.classification import auroc
from pipelines.training import LocalTrainer
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyPlan
from tests.performance.tasks import TASKS, Site, Study, joined

DIGEST = "blake3:" + "0" * 64

STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": {},
    "fedprox": {"local": {"proximal": 0.1}},
    "fednova": {"local": {"normalise_to": 10}},
    "fedavgm": {"strategy": {"name": "fedavgm", "momentum": 0.5}},
    "fedadagrad": {"strategy": {"name": "fedadagrad", "learning_rate": 0.05}},
    "fedadam": {"strategy": {"name": "fedadam", "learning_rate": 0.01}},
    "fedyogi": {"strategy": {"name": "fedyogi", "learning_rate": 0.01}},
    "scaffold": {"strategy": {"name": "scaffold"}},
    "fedbuff": {"schedule": {"name": "buffered"}, "quorum": 2},
    "fedbn": {"personal": {"name": "fedbn"}},
    "ditto": {"personal": {"name": "ditto", "strength": 0.1}},
}
POOLED = "pooled"
"""Among the names of what to run: one site that holds every case."""


@dataclass
class Result:
    """One run: score at each site, over all test cases together, rounds made, the one chosen, bytes and seconds."""

    by_site: list[float]
    pooled_test: float
    rounds: int
    chosen: int
    megabytes: float
    seconds: float


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", help=f"strategies, with commas, or {POOLED}; by default all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        study = TASKS[given.task](given.data, Path(name))
        study.rounds = given.rounds or study.rounds
        names = given.only.split(",") if given.only else [*list(STRATEGIES)[:1], POOLED, *list(STRATEGIES)[1:]]
        print("| strategy | mean of sites | worst site | all cases | rounds | best | MB | s |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
        for strategy in names:
            print_lines(strategy, study, given.seeds, Path(name))


def print_lines(strategy: str, study: Study, seeds: int, folder: Path) -> None:
    """Run a strategy with every seed and print its line, and those of what the sites keep of their own."""
    if strategy == POOLED:
        print(line(POOLED, [pooled(study, seed, folder / f"{POOLED}.{seed}") for seed in range(seeds)]), flush=True)
        return
    runs = [one_run(study, strategy, seed, folder / f"{strategy}.{seed}") for seed in range(seeds)]
    for label, results in zip((strategy, f"{strategy}, personal", "alone"), zip(*runs, strict=True), strict=True):
        if found := [result for result in results if result is not None]:
            print(line(label, found), flush=True)


def one_run(study: Study, name: str, seed: int, folder: Path) -> tuple[Result, Result | None, Result | None]:
    """Return what the global model reaches, what the sites' personal ones do, and with FedAvg what each does alone."""
    folder.mkdir()
    sites = study.sites(seed)
    plan = plan_of(study, words_of(study, name), len(sites), seed)
    plan = beside_alone(plan) if name == "fedavg" else plan
    start, began = first_weights(study, seed, folder), time.process_time()
    opened = {silo: rounds_of(study, plan, site, folder / silo) for silo, site in zip(plan.silos, sites, strict=True)}
    agents = simulated(plan, sites, opened)
    pace = {silo: 1.0 + place for place, silo in enumerate(plan.silos)}
    arrivals = Arrivals.paced(pace, plan.quorum) if plan.schedule.name == "buffered" else None
    done = simulate(plan, start, agents, folder, arrivals=arrivals)
    seconds = time.process_time() - began
    assert done.final is not None
    beside = sum(rounds.beside for rounds in opened.values()) if plan.evaluation.alone else 0.0
    cost = (plan.rounds, done.final.made, megabytes(plan, start, done), seconds - beside)
    model = load_file(done.final.path)
    shared = tested(study, [model] * len(sites), sites, *cost)
    personal = tested(study, own_models(study, plan, opened, done, model), sites, *cost)
    single = [memory(rounds, plan.rounds, "alone") for rounds in opened.values()] if name == "fedavg" else None
    return (
        shared,
        personal if plan.personal.name != "none" else None,
        tested(study, single, sites, plan.rounds, plan.rounds, 0.0, beside) if single else None,
    )


def own_models(
    study: Study, plan: StudyPlan, opened: dict[str, "TimedRounds"], done: Simulation, model: Arrays
) -> list[Arrays]:
    """Return the sites' personal models of the registered round."""
    assert done.final is not None
    kept = OWN if plan.personal.name == "fedbn" else PERSONAL
    norms = norm_names(study.network(), model)
    if plan.personal.name == "none" or (plan.personal.name == "fedbn" and not norms):
        return [model] * len(opened)  # a site keeps nothing where normalisation has no weights
    found = [memory(rounds, done.final.made, kept) for rounds in opened.values()]
    if plan.personal.name == "ditto":
        return found
    return [mixed(model, own, norms) for own in found]


def memory(rounds: TrainingRounds, number: int, name: str) -> Arrays:
    """Return what a site kept in a round."""
    found = rounds._memory.read(number, name)
    assert found is not None, (number, name)
    return found


def pooled(study: Study, seed: int, folder: Path) -> Result:
    """Train one site that holds every case, with as many rounds."""
    folder.mkdir()
    sites = study.sites(seed)
    together = Site("pooled", *(joined([getattr(s, part) for s in sites]) for part in ("train", "validation", "test")))
    plan = plan_of(study, {}, 1, seed)
    # As many steps a round as all the sites make together.
    plan = plan.model_copy(update={"local": plan.local.model_copy(update={"max_steps": steps_of(plan, sites)})})
    start, began = first_weights(study, seed, folder), time.process_time()
    opened = {plan.silos[0]: rounds_of(study, plan, together, folder / "all")}
    done = simulate(plan, start, simulated(plan, [together], opened), folder)
    assert done.final is not None
    model = load_file(done.final.path)
    seconds = time.process_time() - began
    return tested(study, [model] * len(sites), sites, plan.rounds, done.final.made, 0.0, seconds)


def words_of(study: Study, strategy: str) -> dict[str, Any]:
    """Return a strategy's part of a task's plan."""
    return STRATEGIES[strategy] | study.tuned.get(strategy, {})


def steps_of(plan: StudyPlan, sites: Sequence[Site]) -> int:
    """Return how many steps all sites make in a round."""
    return sum(plan.local.steps(len(site.train)) for site in sites)


def plan_of(study: Study, words: dict[str, Any], sites: int, seed: int) -> StudyPlan:
    """Return the plan of a strategy over so many sites."""
    changes = {key: value for key, value in words.items() if key != "local"}
    values = {"quorum": sites} | changes | {"local": study.local | words.get("local", {})}
    plan: dict[str, Any] = {
        "name": "measured",
        "title": "Measured",
        "benchmark": BenchmarkReference(name="measured", version=1, digest=DIGEST),
        "model": ModelReference(digest=DIGEST, size=1),
        "silos": tuple(f"silo-{number:06}" for number in range(sites)),
        "rounds": study.rounds,
        "deadline_seconds": 60,
        "seed": seed,
    }
    return StudyPlan.model_validate(plan | values)


def first_weights(study: Study, seed: int, folder: Path) -> Path:
    """Write the first global model of a seed."""
    torch.manual_seed(seed)
    path = folder / "start.safetensors"
    save_file(to_arrays(study.network()), path)
    return path


class TimedRounds(TrainingRounds):
    """Rounds that add up the CPU seconds of what a site keeps beside the shared model."""

    beside = 0.0

    def _beside(self, *given: Any) -> Any:
        return self._timed(super()._beside, *given)

    def _train_beside(self, *given: Any) -> Any:
        return self._timed(super()._train_beside, *given)

    def _timed(self, work: Callable[..., Any], *given: Any) -> Any:
        began = time.process_time()
        done = work(*given)
        self.beside += time.process_time() - began
        return done


def rounds_of(study: Study, plan: StudyPlan, site: Site, folder: Path) -> TimedRounds:
    """Return a site's session over cases in memory; in a private study each case is a patient."""
    folder.mkdir()
    network = study.network()
    local = LocalTraining.model_validate(plan.local.model_dump())
    privacy = simulated_privacy(plan, len(site.train), folder.name)
    given = (network, study.question, local, site.train, site.validation)
    trainer = LocalTrainer(*given, seed=plan.seed)
    if privacy is not None:
        patients = [[index] for index in range(len(site.train))]
        trainer = PrivateTrainer(*given, seed=plan.seed, privacy=privacy, patients=patients)
    trainer.initialize()
    keeps = Keeping.model_validate(plan.keeps)
    return TimedRounds(trainer, network, keeps, rate=local.learning_rate, out=folder, state=folder / "state")


def simulated(plan: StudyPlan, sites: Sequence[Site], opened: Mapping[str, TrainingRounds]) -> list[SimulatedSite]:
    """Return the simulation's sites."""
    return [
        SimulatedSite(silo, len(site.train), SiteAgent(plan, rounds, len(site.validation)).train)
        for (silo, rounds), site in zip(opened.items(), sites, strict=True)
    ]


def megabytes(plan: StudyPlan, start: Path, done: Simulation) -> float:
    """Return what crossed all the doors: models and control variates down, updates up, validation at the end."""
    size = start.stat().st_size / 1e6
    rounds = [model.counted for model in done.committed]
    down = 2 if plan.strategy.name == "scaffold" else 1
    return size * (sum(rounds) * (1 + down) + len(plan.silos))


def tested(
    study: Study, models: Sequence[Arrays], sites: Sequence[Site], rounds: int, chosen: int, mb: float, s: float
) -> Result:
    """Score each site's test cases with its model."""
    network = study.network()
    task = task_for(study.question)
    records: list[list[dict[str, Any]]] = []
    for model, site in zip(models, sites, strict=True):
        load_arrays(network, model)
        predictor = Predictor(network, lambda image: image, task)
        cases = [site.test[index] for index in range(len(site.test))]
        records.append([{"label": case.label, **predictor.record(case)} for case in cases])
    values = [score(study.question, found) for found in records]
    together = score(study.question, [record for found in records for record in found])
    return Result(values, together, rounds, chosen, mb, s)


def score(question: Question, records: Sequence[dict[str, Any]]) -> float:
    """Return accuracy (heart), AUROC, or the mean Dice over structures."""
    if question.task == "segmentation":
        return float(np.mean([scores["dice"] for record in records for scores in record["structures"].values()]))
    scores = np.array([record["scores"][1] for record in records])
    labels = np.array([int(record["label"]) == 1 for record in records])
    if question.name == "heart":
        return float(np.mean((scores > 0.5) == labels))
    return auroc(scores, labels)


def line(name: str, runs: Sequence[Result]) -> str:
    """Return a line of the table."""
    columns = [
        interval([float(np.mean(run.by_site)) for run in runs]),
        interval([min(run.by_site) for run in runs]),
        interval([run.pooled_test for run in runs]),
        f"{np.mean([run.rounds for run in runs]):.0f}",
        f"{np.mean([run.chosen for run in runs]):.0f}",
        f"{np.mean([run.megabytes for run in runs]):.2f}",
        f"{np.mean([run.seconds for run in runs]):.1f}",
    ]
    return f"| {name} | {' | '.join(columns)} |"


def interval(values: Sequence[float]) -> str:
    """Return the mean with its 95 % t-interval's half width."""
    if len(values) < 2:
        return f"{np.mean(values):.3f}"
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
