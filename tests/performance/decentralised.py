"""Rules for sites without an aggregator under attack, in the shape of BALANCE's experiment (Fang et al., CCS 2024).

::

    python -m tests.performance.decentralised [--seeds 3] [--rounds 200] [--only ALIE min-max]

Twenty sites on a random regular graph of degree ten, four of them lying, train a network (64-32-10) on real handwritten
digits (UCI Optical Recognition, 8x8, as scikit-learn holds them), split so that half of a class is at two sites. Each
round a site trains, shows its model to its neighbours, and mixes by the rule; a liar shows the same false model to all.
The table holds the error of the *worst* honest site on held-out digits in percent, mean and 95 % t-interval over seeds;
a coin errs in 90. Not the paper's data, so its figures are not comparable; the shape is.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import networkx as nx
import numpy as np
from sklearn.datasets import load_digits

from federation_hub.aggregation.attacks import ATTACKS, Knowledge, add_noise, flip_labels
from federation_hub.aggregation.rules import Sites, rule_for
from pipelines.neighbours.rules import (
    Balance,
    Gossip,
    NeighbourRule,
    SelfCentredClipping,
    Surroundings,
    Ubar,
    observed_gamma,
)
from silo_node.wire.strategies import Combination, CoordinateMedian, FLTrust, Krum, TrimmedMean
from tests.performance.robustness import interval

SITES, DEGREE, LIARS, CLASSES = 20, 10, 4, 10
PIXELS, HIDDEN, BATCH, RATE, SKEW = 64, 32, 32, 0.1, 0.5
CUT = PIXELS * HIDDEN
LENGTH = CUT + HIDDEN + HIDDEN * CLASSES + CLASSES
ASSUMED = 4
"""Liars a rule is told to expect among ten neighbours: of a random graph the worst neighbourhood, not the mean."""

IDS = tuple(f"silo-{number:06}" for number in range(SITES))
ON_DATA = ("label flip", "feature noise", "backdoor")
COLUMNS = ("none", *ON_DATA, *ATTACKS)
Mix = Callable[["Site"], np.ndarray]


@dataclass(frozen=True)
class Digits:
    """Each site's digits, and those held out."""

    features: list[np.ndarray]
    labels: list[np.ndarray]
    test_features: np.ndarray
    test_labels: np.ndarray


@dataclass
class Site:
    """What a site mixes from: its own model, its neighbours', and its own digits for a loss."""

    own: np.ndarray
    shown: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    progress: float
    memory: dict[str, float]

    @property
    def distances(self) -> np.ndarray:
        """Return the distance of each neighbour."""
        return np.linalg.norm(self.shown - self.own, axis=1)


def by_pulls(rule: NeighbourRule) -> Mix:
    """Mix as the product does."""

    def mix(site: Site) -> np.ndarray:
        losses = loss(site.shown, site.features, site.labels) if isinstance(rule, Ubar) else None
        own_loss = float(loss(site.own[None], site.features, site.labels)[0]) if losses is not None else 0.0
        around = Surroundings(site.distances, float(np.linalg.norm(site.own)), site.progress, own_loss, losses)
        pulls = rule.pulls(around)
        heard = pulls > 0
        return np.asarray(site.own + pulls[heard] @ (site.shown[heard] - site.own))

    return mix


def balance_fixed(site: Site) -> np.ndarray:
    """BALANCE with the paper's gamma."""
    return by_pulls(Balance(site.memory.setdefault("gamma", 0.3)))(site)


def balance_observed(site: Site) -> np.ndarray:
    """BALANCE with the gamma the site saw in the first round."""
    ratios = site.distances / np.linalg.norm(site.own)
    gamma = site.memory.setdefault("gamma", observed_gamma(ratios))
    return by_pulls(Balance(gamma))(site)


def radius(memory: dict[str, float], progress: float) -> float:
    """Return how far from its own length a site running BALANCE accepts; infinite for another rule."""
    return memory.get("gamma", np.inf) * np.exp(-progress)


def classic(rule: Combination) -> Mix:
    """A rule of the hub over the neighbourhood, the own model among it."""

    def mix(site: Site) -> np.ndarray:
        rows = np.vstack([np.zeros_like(site.own), site.shown - site.own]).astype(np.float32)
        wide, out = rows.astype(np.float64), np.empty(LENGTH)
        sites = Sites(IDS[: len(rows)], (1,) * len(rows), wide @ wide.T)
        rule_for(rule).prepare(sites)(list(rows), out)
        return np.asarray(site.own + out)

    return mix


def fltrust(site: Site) -> np.ndarray:
    """FLTrust with the site's own training of the round as the trusted direction."""
    start = site.memory["start"]
    before = START[int(start)]
    rows = np.vstack([site.own - before, site.shown - before]).astype(np.float32)
    wide, out = rows.astype(np.float64), np.empty(LENGTH)
    sites = Sites(IDS[: len(rows)], (1,) * len(rows), wide @ wide.T)
    rule_for(FLTrust(root=IDS[0])).prepare(sites)(list(rows), out)
    return np.asarray(before + out)


START: dict[int, np.ndarray] = {}
"""Each site's model before the round's training, by number; only FLTrust looks at it."""

RULES: dict[str, Mix] = {
    "gossip (mean)": by_pulls(Gossip()),
    "Krum": classic(Krum(liars=ASSUMED)),
    "trimmed mean": classic(TrimmedMean(liars=ASSUMED)),
    "median": classic(CoordinateMedian(liars=ASSUMED)),
    "FLTrust": fltrust,
    "UBAR": by_pulls(Ubar(honest=1 - ASSUMED / DEGREE)),
    "SCCLIP": by_pulls(SelfCentredClipping(liars=ASSUMED)),
    "BALANCE 0.3": balance_fixed,
    "BALANCE observed": balance_observed,
}


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=COLUMNS, default=COLUMNS, help="columns; none needs the others")
    options, start = parser.parse_args(), time.perf_counter()
    print("| rule | " + " | ".join((*options.only, "backdoor taken")) + " |")
    print("| --- |" + " ---: |" * (len(options.only) + 1))
    for name, mix in RULES.items():
        cells, taken = [], "?"
        for column in options.only:
            found = np.array([one_run(mix, column, seed, options.rounds) for seed in range(options.seeds)])
            cells.append(interval(found[:, 0]))
            taken = interval(found[:, 1]) if column == "backdoor" else taken
        print(f"| {name} | " + " | ".join((*cells, taken)) + " |", flush=True)
    print(f"\n{options.seeds} seeds, {options.rounds} rounds, {time.perf_counter() - start:.0f} s")


def deal(random: np.random.Generator) -> Digits:
    """Split the digits: a third held out; half of each class to its own two sites, the rest anywhere (Fang et al.)."""
    pixels, labels = load_digits(return_X_y=True)
    features = pixels / 8 - 1
    order = random.permutation(len(labels))
    test, train = order[: len(order) // 3], order[len(order) // 3 :]
    group = np.where(random.random(len(train)) < SKEW, labels[train], random.integers(0, CLASSES, len(train)))
    home = 2 * group + random.integers(0, 2, len(train))
    parts = [train[home == site] for site in range(SITES)]
    return Digits([features[p] for p in parts], [labels[p] for p in parts], features[test], labels[test])


def one_run(mix: Mix, attack: str, seed: int, rounds: int) -> tuple[float, float]:
    """Return the worst honest site's error, and the largest share of digits a trigger turns to nought, in percent."""
    random = np.random.default_rng(seed)
    digits = deal(random)
    graph = nx.random_regular_graph(DEGREE, SITES, seed=seed)
    liars = np.sort(random.choice(SITES, LIARS, replace=False))
    honest = np.setdiff1d(np.arange(SITES), liars)
    if attack in ON_DATA:
        poison(digits, liars, attack, random)
    models = np.tile(first_weights(random), (SITES, 1))
    memory: list[dict[str, float]] = [{"start": float(site)} for site in range(SITES)]
    for number in range(1, rounds + 1):
        START.update(enumerate(models))
        trained = np.stack([step(models[site], digits, site, random) for site in range(SITES)])
        shown = trained.copy()
        progress = number / rounds
        reach = min(radius(memory[site], progress) * float(np.linalg.norm(trained[site])) for site in honest)
        shown[liars] = lie(attack, models, trained, honest, liars, reach, random)
        for site in range(SITES):  # a liar mixes as told, to stay near enough to be heard
            beside = shown[sorted(graph[site])]
            own = digits.features[site], digits.labels[site]
            models[site] = mix(Site(trained[site], beside, *own, progress, memory[site]))
    return score(models[honest], digits)


def poison(digits: Digits, liars: np.ndarray, attack: str, random: np.random.Generator) -> None:
    """Change the liars' digits."""
    for site in liars:
        if attack == "label flip":
            digits.labels[site] = flip_labels(digits.labels[site], CLASSES)
        elif attack == "feature noise":
            digits.features[site] = add_noise(digits.features[site], random)
        else:
            digits.features[site] = np.vstack([digits.features[site], triggered(digits.features[site])])
            digits.labels[site] = np.append(digits.labels[site], np.zeros_like(digits.labels[site]))


def triggered(features: np.ndarray) -> np.ndarray:
    """Return digits with a bright square in a corner where there is never ink."""
    marked = features.copy()
    marked[:, [54, 55, 62, 63]] = 3.0
    return marked


def lie(
    attack: str,
    models: np.ndarray,
    trained: np.ndarray,
    honest: np.ndarray,
    liars: np.ndarray,
    reach: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Return what each liar shows."""
    centre = models[honest].mean(axis=0)
    if attack == "backdoor":
        return np.asarray(centre + (trained[liars] - centre) * DEGREE / LIARS)
    if attack == "adaptive":
        return np.tile(inside_every_radius(trained[honest], reach), (len(liars), 1))
    if attack not in ATTACKS:
        return trained[liars]
    if attack == "sign flip":  # its own step the other way, from where it stood itself
        return np.asarray(2 * models[liars] - trained[liars])
    if attack == "free rider":  # what it mixed, untrained, with noise of a tenth of a step
        deviation = 0.1 * float((trained[liars] - models[liars]).std())
        return np.asarray(models[liars] + random.normal(0, deviation, models[liars].shape))
    known = Knowledge(trained[honest] - centre, trained[liars] - centre, np.zeros(LENGTH))
    return np.asarray(centre + ATTACKS[attack](known, random))


def inside_every_radius(honest: np.ndarray, reach: float) -> np.ndarray:
    """Return a model against the mean's signs, as far from every honest one as the tightest of them accepts.

    Where the rule has no radius, as far as the two furthest are apart. Stronger than a liar is: it sees every honest
    model of the round.
    """
    centre = honest.mean(axis=0)
    direction = -np.sign(centre)
    direction /= np.linalg.norm(direction)
    gram = honest @ honest.T
    squares = np.diag(gram)
    if not np.isfinite(reach):
        reach = np.sqrt(max(float((squares[:, None] + squares[None] - 2 * gram).max()), 0.0))
    low, high = 0.0, 2 * reach + 1e-12
    for _ in range(24):
        middle = (low + high) / 2
        far = np.linalg.norm(honest - centre - middle * direction, axis=1).max() > reach
        low, high = (low, middle) if far else (middle, high)
    return np.asarray(centre + low * direction)


def first_weights(random: np.random.Generator) -> np.ndarray:
    """Return the common first model."""
    scales = np.concatenate(
        [
            np.full(CUT, np.sqrt(2 / PIXELS)),
            np.zeros(HIDDEN),
            np.full(HIDDEN * CLASSES, np.sqrt(2 / HIDDEN)),
            np.zeros(CLASSES),
        ]
    )
    return np.asarray(random.normal(0, 1, LENGTH) * scales)


def step(model: np.ndarray, digits: Digits, site: int, random: np.random.Generator) -> np.ndarray:
    """Take one step of gradient descent on a batch of a site's digits."""
    labels = digits.labels[site]
    picked = random.choice(len(labels), min(BATCH, len(labels)), replace=False)
    features = digits.features[site][picked]
    first, bias, second, last = layers(model)
    hidden = np.maximum(features @ first + bias, 0)
    outer = softmax(hidden @ second + last)
    outer[np.arange(len(picked)), labels[picked]] -= 1
    outer /= len(picked)
    inner = (outer @ second.T) * (hidden > 0)
    gradient = np.concatenate(
        [(features.T @ inner).ravel(), inner.sum(axis=0), (hidden.T @ outer).ravel(), outer.sum(axis=0)]
    )
    return np.asarray(model - RATE * gradient)


def layers(model: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a model's weights as matrices."""
    ends = np.cumsum([CUT, HIDDEN, HIDDEN * CLASSES])
    first, bias, second, last = np.split(model, ends)
    return first.reshape(PIXELS, HIDDEN), bias, second.reshape(HIDDEN, CLASSES), last


def logits(model: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return the network's outputs (N, classes)."""
    first, bias, second, last = layers(model)
    found: np.ndarray = np.maximum(features @ first + bias, 0) @ second + last
    return found


def softmax(values: np.ndarray) -> np.ndarray:
    """Return probabilities (N, classes)."""
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def loss(models: np.ndarray, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each model's cross-entropy."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = [
            -np.log(softmax(logits(model, features))[np.arange(len(labels)), labels] + 1e-12).mean() for model in models
        ]
    return np.nan_to_num(np.array(found), nan=np.inf)


def score(models: np.ndarray, digits: Digits) -> tuple[float, float]:
    """Return the worst error and the worst share of triggered digits that are read as nought, in percent."""
    others = digits.test_labels != 0
    marked = triggered(digits.test_features[others])
    with np.errstate(over="ignore", invalid="ignore"):
        errors = [
            float((logits(model, digits.test_features).argmax(1) != digits.test_labels).mean()) for model in models
        ]
        fooled = [float((logits(model, marked).argmax(1) == 0).mean()) for model in models]
    return 100 * max(errors), 100 * max(fooled)


if __name__ == "__main__":
    main()
