"""Every rule under every attack, on the four hospitals of the heart-disease data.

::

    MEDSILO_DATA=... python -m tests.performance.robustness

Each hospital is cut into three sites of other patients, twelve in all, of which two lie; who lies, the cut, the split
and the first weights follow the seed. The network (10-16-1) is trained as a study does it: local steps from the global
model, updates combined by the hub's own rule, as float32. A third of every site's patients is held out. The table holds
the error on them in percent, mean and 95 % t-interval over seeds; a coin or the majority class errs in about 45.
"""

import argparse
import csv
import time
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from federation_hub.aggregation.attacks import ATTACKS, Knowledge, add_noise, add_trigger, flip_labels, scaling
from federation_hub.aggregation.rules import Sites, rule_for
from silo_node.wire.strategies import (
    Bulyan,
    CentredClipping,
    Combination,
    CoordinateMedian,
    FLTrust,
    GeometricMedian,
    Krum,
    Mean,
    MultiKrum,
    NormClipping,
    TrimmedMean,
)
from tests.data import data_root
from tests.performance.heart_disease import HOSPITALS, recoded

FEATURES, HIDDEN = 10, 16
PARTS, LIARS, ROUNDS, STEPS, RATE = 3, 2, 20, 5, 0.5
CENTRE = np.array([54, 0.5, 3, 132, 240, 0.2, 0.6, 140, 0.4, 0.9])
SCALE = np.array([10, 0.5, 1, 20, 60, 0.4, 0.8, 25, 0.5, 1.1])
"""Of age, sex, chest pain, blood pressure, cholesterol, blood sugar, ECG, heart rate, angina, ST depression."""

SITES = PARTS * len(HOSPITALS)
IDS = tuple(f"silo-{number:06}" for number in range(SITES))
RULES: tuple[Combination, ...] = (
    Mean(),
    NormClipping(radius=0.5),
    CoordinateMedian(liars=LIARS),
    TrimmedMean(liars=LIARS),
    GeometricMedian(liars=LIARS),
    CentredClipping(liars=LIARS, radius=0.5),
    Krum(liars=LIARS),
    MultiKrum(liars=LIARS),
    Bulyan(liars=LIARS),
    FLTrust(root=IDS[-1]),
)
ON_DATA = ("label flip", "feature noise", "backdoor")
COLUMNS = ("none", *ON_DATA, *ATTACKS)


@dataclass
class Cases:
    """Padded cases of all sites: features (S, N, F), labels (S, N), and 1 where a case is real."""

    features: np.ndarray
    labels: np.ndarray
    real: np.ndarray


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds, start = range(parser.parse_args().seeds), time.perf_counter()
    hospitals = [read_hospital(name) for name in HOSPITALS]
    print("| rule | " + " | ".join((*COLUMNS, "backdoor taken")) + " |")
    print("| --- |" + " ---: |" * (len(COLUMNS) + 1))
    for rule in RULES:
        runs = {column: np.array([one_run(hospitals, rule, column, seed) for seed in seeds]) for column in COLUMNS}
        cells = [interval(runs[column][:, 0]) for column in COLUMNS] + [interval(runs["backdoor"][:, 1])]
        print(f"| {rule.name} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{len(seeds)} seeds, {time.perf_counter() - start:.0f} s")


def read_hospital(name: str) -> np.ndarray:
    """Return a hospital's rows: ten features on fixed scales, nought where unknown, and the label."""
    with (data_root() / "heart-disease" / f"processed.{name}.data").open() as file:
        rows = list(csv.reader(file))[1:]
    table = np.array([[float(cell) if cell != "?" else np.nan for cell in row] for row in rows])
    table = recoded(table)
    features = (table[:, :FEATURES] - CENTRE) / SCALE
    features[table[:, 4] == 0, 4] = np.nan  # a cholesterol of nought was not measured
    return np.column_stack([np.nan_to_num(features), table[:, -1] > 0])


def one_run(hospitals: list[np.ndarray], rule: Combination, attack: str, seed: int) -> tuple[float, float]:
    """Train under an attack; return the error and the share of diseased cases a trigger makes healthy, in percent."""
    random = np.random.default_rng(seed)
    parts = [part for rows in hospitals for part in np.array_split(random.permutation(rows), PARTS)]
    training = padded([part[len(part) // 3 :] for part in parts])
    test = np.vstack([part[: len(part) // 3] for part in parts])
    liars = random.choice(SITES - 1, LIARS, replace=False)  # the last site is FLTrust's root and stays honest
    if attack in ON_DATA:
        poison(training, liars, attack, random)
    model = train(training, rule, attack, liars, random)
    features, labels = test[:, :FEATURES], test[:, -1] > 0.5
    wrong = (logits(model[None], features[None])[0] > 0) != labels
    fooled = logits(model[None], add_trigger(features[labels])[None])[0] <= 0
    return 100 * float(wrong.mean()), 100 * float(fooled.mean())


def padded(parts: list[np.ndarray]) -> Cases:
    """Put the sites' rows side by side."""
    longest = max(map(len, parts))
    table = np.stack([np.pad(part, ((0, longest - len(part)), (0, 0))) for part in parts])
    real = np.stack([np.arange(longest) < len(part) for part in parts]).astype(float)
    return Cases(table[:, :, :FEATURES], table[:, :, -1], real)


def poison(cases: Cases, liars: np.ndarray, attack: str, random: np.random.Generator) -> None:
    """Change the liars' training cases."""
    if attack == "label flip":
        cases.labels[liars] = flip_labels(cases.labels[liars].astype(np.int64), 2)
    elif attack == "feature noise":
        cases.features[liars] = add_noise(cases.features[liars], random)
    else:
        half = liars, slice(None, None, 2)
        cases.features[half] = add_trigger(cases.features[half])
        cases.labels[half] = 0


def train(cases: Cases, rule: Combination, attack: str, liars: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the last global model, as one row of values."""
    model = random.normal(0, 0.3, FEATURES * HIDDEN + 2 * HIDDEN + 1)
    honest = np.setdiff1d(np.arange(SITES), liars)
    weights, last = tuple(int(count) for count in cases.real.sum(axis=1)), np.zeros_like(model)
    for _ in range(ROUNDS):
        updates = local_training(model, cases) - model
        if attack == "backdoor":
            updates[liars] = scaling(Knowledge(updates[honest], updates[liars], last), random)
        elif attack in ATTACKS:
            updates[liars] = ATTACKS[attack](Knowledge(updates[honest], updates[liars], last), random)
        rows = updates.astype(np.float32)
        wide = rows.astype(np.float64)
        last = np.empty_like(model)
        rule_for(rule).prepare(Sites(IDS, weights, wide @ wide.T))(list(rows), last)
        model = model + last
    return model


def local_training(model: np.ndarray, cases: Cases) -> np.ndarray:
    """Take a few full-batch gradient steps at every site at once; sites are rows."""
    rows = np.tile(model, (SITES, 1))
    share = cases.real / cases.real.sum(axis=1, keepdims=True)
    for _ in range(STEPS):
        first, bias, second, _ = layers(rows)
        hidden = np.maximum(cases.features @ first + bias, 0)
        outer = (sigmoid(logits(rows, cases.features)) - cases.labels) * share
        inner = outer[:, :, None] * second * (hidden > 0)
        gradient = [
            (cases.features.transpose(0, 2, 1) @ inner).reshape(SITES, -1),
            inner.sum(axis=1),
            (hidden.transpose(0, 2, 1) @ outer[:, :, None])[:, :, 0],
            outer.sum(axis=1, keepdims=True),
        ]
        rows = rows - RATE * np.concatenate(gradient, axis=1)
    return rows


def layers(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's weights as matrices that fit cases of shape (S, N, F)."""
    cut = FEATURES * HIDDEN
    first = rows[:, :cut].reshape(-1, FEATURES, HIDDEN)
    return first, rows[:, None, cut : cut + HIDDEN], rows[:, None, cut + HIDDEN : -1], rows[:, -1:]


def logits(rows: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return the network's outputs of shape (S, N)."""
    first, bias, second, last = layers(rows)
    found: np.ndarray = (np.maximum(features @ first + bias, 0) * second).sum(axis=2) + last
    return found


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return the logistic function without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))


def interval(values: np.ndarray) -> str:
    """Return the mean with its 95 % t-interval's half width."""
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.0f} ± {half:.0f}"


if __name__ == "__main__":
    main()
