"""How often the leaderboard's 95% intervals hold the truth: AUROC at a few unequal hospitals, simulated from scores.

    python -m tests.performance.interval_coverage [--federations 1000]

Beside it what the usual method covers, which takes the logit of each hospital's AUROC before pooling. Prints a table;
``docs/explanation/statistics.md`` quotes it.
"""

import argparse

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from benchmarks.statistics.delong import auroc
from benchmarks.statistics.pooling import confidence_interval, pool

SETTINGS = ((1.5, 0.3), (2.3, 0.3), (2.3, 0.0), (3.3, 0.3), (4.4, 0.3), (4.4, 0.0))
"""Distance between the classes in standard deviations, and how much hospitals differ in it."""


def simulate(
    federations: int, sites: int, distance: float, spread: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return AUROC and DeLong variance (federations, sites), 30 to 199 cases of each class, and cases a federation."""
    theta, variance = np.empty((2, federations, sites))
    cases = np.zeros(federations)
    for cell in np.ndindex(federations, sites):
        n, m = rng.integers(30, 200, 2)
        ill = rng.standard_normal(m) + distance + spread * rng.standard_normal()
        scores = np.concatenate([ill, rng.standard_normal(n)])
        parts = auroc(scores[None], np.arange(m + n) < m, np.arange(m + n))
        half_a_pair = 0.5 / (m * n + 1)
        least = 2 * half_a_pair * (1 - half_a_pair) / (m * n + 1) if parts.theta[0] >= 1 else 0.0
        theta[cell], variance[cell] = parts.theta[0], max(parts.cov[0, 0], least)
        cases[cell[0]] += m + n
    return theta, variance, cases


def coverage(federations: int, sites: int, distance: float, spread: float, rng: np.random.Generator) -> list[float]:
    """Return the true mean AUROC, then coverage and median width of our intervals and of those from site logits."""
    true = np.clip(norm.cdf((distance + spread * rng.standard_normal(400_000)) / np.sqrt(2)), 0, 1 - 1e-9)
    theta, variance, cases = simulate(federations, sites, distance, spread, rng)
    low, high = confidence_interval(pool(theta, variance), upper=1.0, size=cases)
    held = np.minimum(theta, 1 - 1 / 5000)
    logits = pool(logit(held), variance / (held * (1 - held)) ** 2)
    other = [expit(logits.mean + side * logits.quantile * logits.se) for side in (-1, 1)]
    middle = expit(logit(true).mean())
    return [
        float(true.mean()),
        float(np.mean((low <= true.mean()) & (true.mean() <= high))),
        float(np.median(high - low)),
        float(np.mean((other[0] <= middle) & (middle <= other[1]))),
        float(np.median(other[1] - other[0])),
    ]


def main() -> None:
    """Print one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--federations", type=int, default=1000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(5)
    print("sites   auroc   spread | covered   width | site logits   width")
    for sites in (3, 5, 8):
        for distance, spread in SETTINGS:
            true, ours, width, theirs, other = coverage(arguments.federations, sites, distance, spread, rng)
            print(f"{sites:5} {true:7.4f} {spread:8.1f} | {ours:7.3f} {width:7.4f} | {theirs:11.3f} {other:7.4f}")


if __name__ == "__main__":
    main()
