"""What a site may send of an evaluation: per-case results in, the wire's estimates out.

The dictionaries returned validate as the wire's ``ClassEstimates``, ``StructureEstimates`` and ``SubgroupEstimates``;
this package cannot import the wire, so a test holds them together.
"""

from typing import Any

import numpy as np

from benchmarks.statistics.arrays import Floats, Integers
from benchmarks.statistics.bootstrap import Estimator, bootstrap_covariance, plain
from benchmarks.statistics.calibration import expected_calibration_error
from benchmarks.statistics.cases import Cohort, MeasuredCases, ScoredCases
from benchmarks.statistics.classification import (
    DEFAULT_THRESHOLD,
    OneVersusRest,
    auprc,
    balanced_accuracy,
    brier,
    mean_over,
    one_versus_rest,
)
from benchmarks.statistics.delong import auroc
from benchmarks.statistics.disclosure import RATE_DECIMALS, rounded, withheld_classes
from benchmarks.statistics.histogram import score_tables
from benchmarks.statistics.rules import OVERALL, BenchmarkRules, MetricRule
from benchmarks.statistics.segmentation import (
    QUANTILE_PATIENTS,
    clustered_mean,
    empty_references,
    failure_counts,
    quantiles,
    scored,
    volume_agreement,
)
from benchmarks.statistics.subgroups import Level, reportable_levels

Estimates = dict[str, Any]
Moments = tuple[Floats, Floats]


_NO_TABLES: Estimates = {"operating_points": (), "histograms": (), "calibration": ()}
_WITHIN_CLASSES = {"auprc": auprc, "balanced_accuracy": balanced_accuracy}
_OVER_ALL = {"brier": brier, "ece": expected_calibration_error}


def estimate_body(cases: ScoredCases | MeasuredCases, rules: BenchmarkRules, *, rng: np.random.Generator) -> Estimates:
    """Return the part of an estimate block that is computed from the cases.

    ``rng`` must be seeded from a secret of the site. Keys: cases, patients, failed, classes, structures, subgroups.
    """
    return {
        "cases": len(cases.cohort.cases),
        "patients": cases.cohort.patients,
        "failed": tuple(int(count) for count in cases.failed.sum(axis=1)),
        "classes": tuple(classification_estimates(cases, rules, rng=rng)) if isinstance(cases, ScoredCases) else (),
        "structures": tuple(segmentation_estimates(cases, rules)) if isinstance(cases, MeasuredCases) else (),
        "subgroups": tuple(subgroup_estimates(cases, rules, rng=rng)),
    }


def classification_estimates(
    cases: ScoredCases, rules: BenchmarkRules, *, rng: np.random.Generator, tables: bool = True
) -> list[Estimates]:
    """Return the entry of the positive class of a binary benchmark, else the mean over classes and each class."""
    threshold = rules.thresholds[0] if rules.thresholds else DEFAULT_THRESHOLD
    indices = [1] if rules.binary else range(len(rules.labels))
    views = [one_versus_rest(cases, index, threshold=threshold) for index in indices]
    reasons = [_class_reason(view, rules.limits.smallest_class) for view in views]
    label, patient = cases.cohort.label, cases.cohort.patient
    sizes = [int(np.unique(patient[label == index]).size) for index in range(len(rules.labels))]
    hidden = withheld_classes(sizes, rules.limits.smallest_class)
    entries = [
        _class_entry(view, rules, reason, label=rules.labels[index], hide=hidden[index], tables=tables, rng=rng)
        for index, view, reason in zip(indices, views, reasons, strict=True)
    ]
    return entries if rules.binary else [_all_classes(cases, views, reasons, rules, rng), *entries]


def segmentation_estimates(cases: MeasuredCases, rules: BenchmarkRules, *, tables: bool = True) -> list[Estimates]:
    """Return the entry of the mean over structures of each case, then the entry of each structure.

    The mean is taken within the case, so that its covariance between models is exact: the covariance between
    structures, which would be needed to combine their entries, is not sent.
    """
    values = {rule.name: scored(cases, rule) for rule in rules.metrics}
    entries = [_structure_entry({name: v.mean(axis=2) for name, v in values.items()}, cases.cohort, rules, tables)]
    for index in range(len(rules.labels) - 1):
        entry = _structure_entry({name: v[:, :, index] for name, v in values.items()}, cases.cohort, rules, tables)
        entries.append(entry | _structure_counts(cases, index, rules, tables))
    return [entry | {"label": label} for entry, label in zip(entries, (OVERALL, *rules.labels[1:]), strict=True)]


def subgroup_estimates(
    cases: ScoredCases | MeasuredCases, rules: BenchmarkRules, *, rng: np.random.Generator
) -> list[Estimates]:
    """Return the metrics of each level of the declared attributes, or that the level is suppressed.

    Subgroups carry no tables: a count over a subgroup taken from the count over all would tell of the rest.
    """
    levels = reportable_levels(cases.cohort, rules.subgroups, minimum=rules.limits.smallest_class)
    return [_subgroup_entry(cases, level, rules, rng) for level in levels]


def _subgroup_entry(
    cases: ScoredCases | MeasuredCases, level: Level, rules: BenchmarkRules, rng: np.random.Generator
) -> Estimates:
    entry: Estimates = {"attribute": level.attribute, "level": level.level, "classes": (), "structures": ()}
    if not level.reported:
        return entry | {"status": "suppressed"}
    entry["status"] = "estimated"
    if isinstance(cases, ScoredCases):
        found = classification_estimates(cases.subset(level.mask), rules, rng=rng, tables=False)
        return entry | {"classes": tuple(found)}
    return entry | {"structures": tuple(segmentation_estimates(cases.subset(level.mask), rules, tables=False))}


def _class_reason(view: OneVersusRest, minimum: int) -> str | None:
    """Why a class must stay undefined: fewer patients than the limit with an image of it, or without."""
    for part, reason in ((view.positive, "too-few-positives"), (~view.positive, "too-few-negatives")):
        if np.unique(view.patient[part]).size < minimum:
            return reason
    return None


def _class_entry(
    view: OneVersusRest,
    rules: BenchmarkRules,
    reason: str | None,
    *,
    label: str,
    hide: bool,
    tables: bool,
    rng: np.random.Generator,
) -> Estimates:
    hide = hide or reason is not None
    entry: Estimates = {
        "label": label,
        "positives": None if hide else int(view.positive.sum()),
        "negatives": None if hide else int((~view.positive).sum()),
        "metrics": _undefined(rules, reason) if reason else _estimated(_class_moments(view, rules, rng), rules),
        **_NO_TABLES,
    }
    return entry if hide or not tables else entry | _class_tables(view, rules)


def _class_tables(view: OneVersusRest, rules: BenchmarkRules) -> Estimates:
    limits = rules.limits
    found = [
        score_tables(view, model, rules.thresholds, minimum=limits.minimum_cell, decimals=limits.decimals)
        for model in range(len(view.ranking))
    ]
    return {
        "operating_points": tuple(
            {"threshold": threshold, "models": tuple(tables.points[index] for tables in found)}
            for index, threshold in enumerate(rules.thresholds)
        ),
        "histograms": tuple(tables.histogram for tables in found),
        "calibration": tuple(tables.calibration for tables in found),
    }


def _class_moments(view: OneVersusRest, rules: BenchmarkRules, rng: np.random.Generator) -> dict[str, Moments]:
    parts = auroc(view.ranking, view.positive, view.patient)
    return {"auroc": (parts.theta, parts.cov)} | _resampled([view], view.strata, rules, rng)


def _all_classes(
    cases: ScoredCases,
    views: list[OneVersusRest],
    reasons: list[str | None],
    rules: BenchmarkRules,
    rng: np.random.Generator,
) -> Estimates:
    """The mean over classes; undefined if any class is, for a mean over other classes is another number."""
    reason = next((reason for reason in reasons if reason), None)
    entry: Estimates = {"label": OVERALL, "positives": None, "negatives": None, **_NO_TABLES}
    if reason:
        return entry | {"metrics": _undefined(rules, reason)}
    parts = [auroc(view.ranking, view.positive, view.patient) for view in views]
    influence = np.mean([part.influence for part in parts], axis=0)
    patients = influence.shape[1]
    moments = {
        "auroc": (np.mean([part.theta for part in parts], axis=0), influence @ influence.T * patients / (patients - 1))
    }
    moments |= _resampled(views, _class_strata(cases.cohort), rules, rng)
    return entry | {"metrics": _estimated(moments, rules)}


def _class_strata(cohort: Cohort) -> Integers:
    """A number for each patient that says which classes its images are of."""
    strata = np.zeros(cohort.patients, dtype=np.int64)
    np.bitwise_or.at(strata, cohort.patient, 1 << cohort.label)
    return strata


def _resampled(
    views: list[OneVersusRest], strata: Integers, rules: BenchmarkRules, rng: np.random.Generator
) -> dict[str, Moments]:
    """Metrics with a bootstrapped covariance; those that need every class resample within the classes."""
    names = {rule.name for rule in rules.metrics}
    moments: dict[str, Moments] = {}
    for kinds, layers in ((_WITHIN_CLASSES, strata), (_OVER_ALL, np.zeros_like(strata))):
        estimators: dict[str, Estimator] = {
            name: mean_over([make(view) for view in views]) for name, make in kinds.items() if name in names
        }
        if estimators:
            cov = bootstrap_covariance(estimators, layers, rng)
            moments |= {name: (plain(estimators[name], strata.size), cov[name]) for name in estimators}
    return moments


def _structure_entry(values: dict[str, Floats], cohort: Cohort, rules: BenchmarkRules, tables: bool) -> Estimates:
    entry: Estimates = {"empty_reference": None, "quantiles": (), "failures": (), "volume": ()}
    if cohort.patients < rules.limits.smallest_class:
        return entry | {"metrics": _undefined(rules, "too-few-cases")}
    entry["metrics"] = _estimated({name: clustered_mean(v, cohort.patient) for name, v in values.items()}, rules)
    if tables and cohort.patients >= QUANTILE_PATIENTS:
        entry["quantiles"] = tuple({"metric": name, "models": quantiles(v)} for name, v in values.items())
    if tables and "dice" in values:
        minimum = rules.limits.minimum_cell
        entry["failures"] = failure_counts(values["dice"], cohort.patient, rules.failure_dice, minimum=minimum)
    return entry


def _structure_counts(cases: MeasuredCases, index: int, rules: BenchmarkRules, tables: bool) -> Estimates:
    limits = rules.limits
    if not tables or cases.cohort.patients < limits.smallest_class:
        return {}
    return {
        "empty_reference": empty_references(cases, index, minimum=limits.minimum_cell),
        "volume": volume_agreement(cases, index, minimum=limits.smallest_class, decimals=limits.decimals),
    }


def _estimated(moments: dict[str, Moments], rules: BenchmarkRules) -> tuple[Estimates, ...]:
    return tuple(_metric(rule, *moments[rule.name], rules.limits.decimals) for rule in rules.metrics)


def _metric(rule: MetricRule, theta: Floats, cov: Floats, decimals: int) -> Estimates:
    if rule.name == "balanced_accuracy":
        decimals = min(decimals, RATE_DECIMALS)
    theta, cov = rounded(theta, cov, decimals=decimals)
    return {
        "metric": rule.name,
        "status": "estimated",
        "reason": None,
        "theta": tuple(theta.tolist()),
        "cov": tuple(tuple(row) for row in cov.tolist()),
    }


def _undefined(rules: BenchmarkRules, reason: str) -> tuple[Estimates, ...]:
    return tuple(
        {"metric": rule.name, "status": "undefined", "reason": reason, "theta": (), "cov": ()} for rule in rules.metrics
    )
