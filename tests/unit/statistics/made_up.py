"""Made-up cases and blocks with known properties, for the tests of the statistics."""

from typing import Any

import numpy as np

from benchmarks.statistics.blocks import Entry, Moments, SiteBlock
from benchmarks.statistics.cases import Cohort, ExpectedCase, MeasuredCases, ScoredCases
from benchmarks.statistics.rules import BenchmarkRules, benchmark_rules

DIGEST = "blake3:" + "0" * 64
BINARY: dict[str, Any] = {
    "name": "made_up",
    "version": 1,
    "task": "classification",
    "labels": ["normal", "ill"],
    "metrics": [
        {"name": "auroc", "primary": True, "floor": 0.7},
        {"name": "brier"},
        {"name": "ece"},
        {"name": "auprc"},
        {"name": "balanced_accuracy"},
    ],
    "thresholds": [0.3, 0.5],
    "subgroups": ["sex", "maker"],
}
SEVERAL = BINARY | {"labels": ["normal", "pneumonia", "effusion"], "thresholds": [0.5]}
SEGMENTATION: dict[str, Any] = {
    "name": "made_up",
    "version": 1,
    "task": "segmentation",
    "labels": ["background", "anterior", "posterior"],
    "metrics": [{"name": "dice", "primary": True}, {"name": "nsd"}, {"name": "hd95", "cap_mm": 50.0}],
    "failure_dice": [0.5, 0.8],
    "subgroups": ["sex"],
}


def rules_of(definition: dict[str, Any], **changes: Any) -> BenchmarkRules:
    return benchmark_rules(definition | changes, digest=DIGEST)


def cohort(labels: list[int] | np.ndarray | None, *, n: int | None = None, images: int = 1, seed: int = 0) -> Cohort:
    """A cohort in which every ``images`` consecutive cases are one patient's."""
    rng = np.random.default_rng(seed)
    size = n if labels is None else len(labels)
    assert size is not None
    return Cohort(
        tuple(
            ExpectedCase(
                f"case{index:05d}",
                f"patient{index // images:05d}",
                None if labels is None else int(labels[index]),
                {
                    "sex": "fm"[rng.integers(2)],
                    "maker": str(rng.choice(["ge", "siemens", "canon"], p=[0.6, 0.38, 0.02])),
                },
            )
            for index in range(size)
        )
    )


def scored(
    n: int = 300,
    *,
    models: int = 3,
    classes: int = 2,
    images: int = 1,
    failing: float = 0.0,
    prevalence: float | None = None,
    seed: int = 0,
) -> ScoredCases:
    """Scores that share what is hard about a case, so that the models' errors are correlated."""
    rng = np.random.default_rng(seed)
    rate = 1 / classes if prevalence is None else prevalence
    labels = rng.choice(classes, n, p=[1 - rate * (classes - 1), *[rate] * (classes - 1)])
    hard = rng.standard_normal((n, classes))
    scores = []
    for model in range(models):
        raw = 0.7 * hard + 0.7 * rng.standard_normal((n, classes))
        raw[np.arange(n), labels] += 2.0 - 0.4 * model
        odds = np.exp(raw)
        scores.append(np.round(odds / odds.sum(axis=1, keepdims=True) * 4096) / 4096)
    return ScoredCases(cohort(labels, images=images, seed=seed), np.array(scores), rng.random((models, n)) < failing)


def measured(n: int = 80, *, models: int = 3, images: int = 1, failing: float = 0.0, seed: int = 0) -> MeasuredCases:
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.85, 0.08, (n, 2))
    dice = np.clip(hard + rng.normal(0, 0.04, (models, n, 2)), 0, 1)
    return MeasuredCases(
        cohort(None, n=n, images=images, seed=seed),
        {"dice": dice, "nsd": np.sqrt(dice), "hd95": 50 * (1 - dice)},
        rng.normal(3, 0.2, (models, n, 2)),
        rng.normal(3, 0.2, (n, 2)),
        np.zeros((n, 2), dtype=bool),
        rng.random((models, n)) < failing,
    )


def whole_block(body: dict[str, Any], *, models: int, site: int = 0, decimals: int = 4) -> dict[str, Any]:
    """The JSON of an estimate block around what ``estimate_body`` returned."""
    return {
        "format": "estimate-block/1",
        "task_id": "task-abcdef",
        "evaluation_id": "eval-abcdef",
        "silo_id": f"silo-{site:08d}",
        "benchmark": {"name": "made_up", "version": 1, "digest": DIGEST},
        "cohort": "keyed-" + DIGEST,
        "models": [model_digest(index) for index in range(models)],
        "attempt": 1,
        "software": {"medsilo": "0.1.0", "monai": "1.6.1", "torch": "2.13.0"},
        "started": "2026-11-20T10:00:00Z",
        "finished": "2026-11-20T10:05:00Z",
        "limits": {"minimum_class": 20, "minimum_cell": 10, "minimum_sites": 3, "decimals": decimals},
        "resources": [{"seconds_mean": 1.0, "seconds_sd": 0.1, "peak_memory_mb": 512.0}] * models,
        **body,
    }


def model_digest(index: int) -> str:
    return f"blake3:{index:064x}"


def simple_block(
    site: int,
    theta: list[float] | np.ndarray,
    *,
    se: float = 0.02,
    correlation: float = 0.6,
    models: list[int] | None = None,
    cases: int = 200,
    label: str = "ill",
    metric: str = "auroc",
    finished: str = "2026",
    extra: dict[str, np.ndarray] | None = None,
) -> SiteBlock:
    """A block with one entry whose models have equal errors and a common correlation."""
    values = np.asarray(theta, dtype=float)
    cov = se**2 * (correlation + (1 - correlation) * np.eye(values.size))
    metrics = {metric: Moments(values, cov)} | {name: Moments(other, cov) for name, other in (extra or {}).items()}
    half = cases // 2 if label == "ill" else None
    return SiteBlock(
        site=f"silo-{site:08d}",
        digest=f"blake3:{site:032x}{abs(hash(finished)) % 7:032x}",
        finished=finished,
        models=tuple(model_digest(index) for index in (models or range(values.size))),
        cases=cases,
        patients=cases,
        failed=(0,) * values.size,
        entries={(None, label): Entry(label, half, half, metrics)},
        tables={},
    )
