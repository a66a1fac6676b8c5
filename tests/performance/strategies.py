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
import csv
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from scipy.stats import t
from torch import nn

from benchmarks.definition import bundled
from federation_hub.client.arrivals import Arrivals
from federation_hub.client.baselines import beside_alone
from federation_hub.client.simulated_sites import SiteAgent, simulated_privacy
from federation_hub.client.simulation import SimulatedSite, Simulation, simulate
from pipelines.bundles.profile import read_profile
from pipelines.cohort import CaseSource, PreparedCase, cases_of, read_manifest
from pipelines.inference import Predictor
from pipelines.job import Keeping, LocalTraining
from pipelines.memory import mixed, norm_names
from pipelines.networks import Arrays, build_network, load_arrays, to_arrays
from pipelines.privacy.training import PrivateTrainer
from pipelines.question import Question, read_question
from pipelines.session import OWN, PERSONAL, TrainingRounds
from pipelines.tasks import task_for
from pipelines.tasks.classification import auroc
from pipelines.training import LocalTrainer
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyPlan
from tests.performance.heart_disease import HOSPITALS, recoded

DIGEST = "blake3:" + "0" * 64
SGD = {"optimiser": "sgd", "momentum": 0.0}

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
class Cases:
    """Prepared cases in memory, as the trainer asks for them."""

    cases: Sequence[PreparedCase]

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> PreparedCase:
        return self.cases[index]

    def batch(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels, stacked."""
        chosen = [self.cases[int(index)] for index in indices]
        return np.stack([case.image for case in chosen]), np.stack([np.asarray(case.label) for case in chosen])


@dataclass
class Site:
    """One site's three splits."""

    name: str
    train: Any
    validation: Any
    test: Any


@dataclass
class Study:
    """A task: its question, its network, its budget, how the sites of a seed are made, and what strategies it tunes."""

    question: Question
    network: Callable[[], nn.Module]
    local: dict[str, Any]
    rounds: int
    sites: Callable[[int], list[Site]]
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)

    def words(self, strategy: str) -> dict[str, Any]:
        """Return a strategy's part of the plan."""
        return STRATEGIES[strategy] | self.tuned.get(strategy, {})


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
    plan = plan_of(study, study.words(name), len(sites), seed)
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


def steps_of(plan: StudyPlan, sites: Sequence[Site]) -> int:
    """Return how many steps all sites make in a round."""
    return sum(plan.local.steps(len(site.train)) for site in sites)


def joined(parts: Sequence[Any]) -> Cases:
    """Return the cases of all sites."""
    return Cases([part[index] for part in parts for index in range(len(part))])


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


def classification(name: str, shape: tuple[int, ...]) -> Question:
    """Return the question of a task of two classes; the data are public, so the limits are the lowest there are."""
    return read_question(
        {
            "name": name,
            "version": 1,
            "task": "classification",
            "labels": ["normal", "finding"],
            "input": {"channels": 1, "shape": list(shape)},
            "preparation": [],
            "metrics": [{"name": "auroc", "primary": True}],
            "disclosure": {"minimum_class": 5, "minimum_cell": 5, "decimals": 4},
        }
    )


def heart(data: Path, folder: Path) -> Study:
    """Return the heart-disease study: thirteen features, a network of sixteen hidden units."""
    tables = [hospital(data / f"processed.{name}.data") for name in HOSPITALS]

    def network() -> nn.Module:
        layers = (nn.Flatten(), nn.Linear(16, 16), nn.GroupNorm(4, 16), nn.ReLU(), nn.Linear(16, 2))
        return nn.Sequential(*layers).eval()

    def sites(seed: int) -> list[Site]:
        random = np.random.default_rng(seed)
        return [tabular(name, table, random) for name, table in zip(HOSPITALS, tables, strict=True)]

    local = {"epochs": 1, "batch_size": 8, "learning_rate": 0.05, "max_steps": 10, **SGD}
    return Study(classification("heart", (4, 4)), network, local, 10, sites)


def hospital(path: Path) -> np.ndarray:
    """Return the complete rows: ten attributes as thirteen features (chest pain, ECG by category), and the label."""
    with path.open() as file:
        rows = [row[:10] + row[-1:] for row in list(csv.reader(file))[1:]]
    table = np.array([[float(cell) for cell in row] for row in rows if "?" not in row])
    table = recoded(table)
    pain = table[:, 2:3] == np.array([2, 3, 4])
    ecg = table[:, 6:7] == np.array([1, 2])
    rest = table[:, [0, 1, 3, 4, 5, 7, 8, 9]]
    return np.column_stack([rest, pain, ecg, table[:, -1] > 0]).astype(np.float64)


def tabular(name: str, table: np.ndarray, random: np.random.Generator) -> Site:
    """Divide a hospital's rows: a third for the test, a sixth for validation, scaled by its own training rows."""
    rows = random.permutation(table)
    cuts = np.split(rows, [len(rows) // 3, len(rows) // 3 + len(rows) // 6])
    test, validation, train = cuts
    mean, spread = train[:, :-1].mean(axis=0), train[:, :-1].std(axis=0) + 1e-6

    def cases(part: np.ndarray) -> Cases:
        features = np.pad((part[:, :-1] - mean) / spread, ((0, 0), (0, 3))).astype(np.float32)
        rows = zip(features.reshape(-1, 1, 4, 4), part[:, -1], strict=True)
        return Cases([PreparedCase(row, int(label), (1.0, 1.0)) for row, label in rows])

    return Site(name, cases(train), cases(validation), cases(test))


def pneumonia(data: Path, folder: Path) -> Study:
    """Return the PneumoniaMNIST study: four sites with other shares of the classes, a small convolutional network."""
    images, labels = archive(data, "train")
    test_images, test_labels = archive(data, "test")

    def network() -> nn.Module:
        blocks: list[nn.Module] = []
        for before, after in ((1, 8), (8, 16), (16, 32)):
            blocks += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(4, after), nn.ReLU()]
        return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)).eval()

    def sites(seed: int) -> list[Site]:
        random = np.random.default_rng(seed)
        dealt = dirichlet(labels, random)
        tests = np.array_split(random.permutation(len(test_labels)), len(dealt))
        made = []
        for place, (own, tested) in enumerate(zip(dealt, tests, strict=True)):
            cut = max(20, len(own) // 8)
            parts = (pictures(images[own[cut:]], labels[own[cut:]]), pictures(images[own[:cut]], labels[own[:cut]]))
            made.append(Site(f"site {place}", *parts, pictures(test_images[tested], test_labels[tested])))
        return made

    local = {"epochs": 1, "batch_size": 32, "learning_rate": 0.3, "max_steps": 20, **SGD}
    return Study(
        classification("pneumonia", (28, 28)), network, local, 12, sites, tuned(20, fedadam=0.03, fedyogi=0.03)
    )


def tuned(steps: int, **rates: float) -> dict[str, dict[str, Any]]:
    """Return what a task changes: FedNova's steps, and rates at the hub, set by the validation scores of one seed."""
    adapted = {name: {"strategy": {"name": name, "learning_rate": rate}} for name, rate in rates.items()}
    return {"fednova": {"local": {"normalise_to": steps}}, **adapted}


def archive(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a split's images and labels."""
    with np.load(data / f"pneumoniamnist_{split}.npz", allow_pickle=False) as arrays:
        return arrays[f"{split}_images"], arrays[f"{split}_labels"].reshape(-1).astype(np.int64)


def dirichlet(labels: np.ndarray, random: np.random.Generator, sites: int = 4) -> list[np.ndarray]:
    """Deal each class over the sites by shares drawn from Dirichlet(0.5), until every site has 25 of each."""
    while True:
        dealt: list[list[np.ndarray]] = [[] for _ in range(sites)]
        for label in (0, 1):
            own = random.permutation(np.flatnonzero(labels == label))
            cuts = (np.cumsum(random.dirichlet([0.5] * sites))[:-1] * len(own)).astype(int)
            for site, part in zip(dealt, np.split(own, cuts), strict=True):
                site.append(part)
        if min(len(part) for site in dealt for part in site) >= 25:
            return [random.permutation(np.concatenate(site)) for site in dealt]


def pictures(images: np.ndarray, labels: np.ndarray) -> Cases:
    """Return prepared cases."""
    values = ((images.astype(np.float32) / 255 - 0.57) / 0.17)[:, None]
    return Cases([PreparedCase(image, int(label), (1.0, 1.0)) for image, label in zip(values, labels, strict=True)])


def hippocampus(data: Path, folder: Path) -> Study:
    """Return the hippocampus study: the demonstration's sites, prepared once, and a small U-Net.

    The reference network has twice the channels, residual units, and takes five times as long.
    """
    from benchmarks.demonstration import reference_profile
    from benchmarks.hippocampus_mr import demo
    from tests.performance.federated_quality import build_cohort

    definition = bundled("hippocampus_mr")
    question = read_question(definition.model_dump(mode="json"))
    found = demo.write_sites(folder / "sites", data)
    cohorts = [build_cohort(site, definition, folder / "cohorts" / str(place)) for place, site in enumerate(found)]
    sites = [in_memory(site.name, cohort, question) for site, cohort in zip(found, cohorts, strict=True)]
    words = reference_profile(Path(demo.__file__).parent)
    words["network"]["args"] |= {"channels": [8, 16, 32], "num_res_units": 0}
    profile = read_profile(words)

    def network() -> nn.Module:
        return build_network(profile.network_arguments()).eval()

    local = {"epochs": 1, "batch_size": 1, "learning_rate": 0.5, "max_steps": 24, **SGD}
    rates = {"fedadagrad": 0.02, "fedadam": 0.03, "fedyogi": 0.03}
    return Study(question, network, local, 6, lambda seed: sites, tuned(23, **rates))


def in_memory(name: str, cohort: Path, question: Question) -> Site:
    """Read a prepared cohort whole."""
    manifest = read_manifest(cohort)
    splits = [CaseSource(cohort, cases_of(manifest, split), question, lambda image: image) for split in SPLITS]
    return Site(name, *(Cases([source[index] for index in range(len(source))]) for source in splits))


SPLITS: tuple[Any, ...] = ("train", "validation", "test")
TASKS: dict[str, Callable[[Path, Path], Study]] = {
    "heart": heart,
    "pneumonia": pneumonia,
    "hippocampus": hippocampus,
}

if __name__ == "__main__":
    main()
