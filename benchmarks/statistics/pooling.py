"""One number from many hospitals, and how sure it is.

A site's estimate is its hospital's true value with the site's own variance; the true values scatter between hospitals
with variance tau^2 (random effects). All functions take estimates ``y`` and variances ``v`` of shape (..., sites), NaN
where a site is missing, and work along the last axis.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, expit, logit, ndtri, stdtrit

from benchmarks.statistics.arrays import Booleans, Floats, Integers
from benchmarks.statistics.quantities import publishes

ESTIMABLE_SITES = 3
"""With fewer hospitals the variance between them, and so what a new one would see, is not estimable."""

NORMAL_95 = 1.959964

_TINY = 1e-12
_DELTA_LIMIT = 0.5
_NEWTON_STEPS = 200
_TOLERANCE = 1e-10
_CELLS_AT_ONCE = 12_000
"""Temporaries of this size stay in the processor's cache; a thousand models have half a million pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """A mean over sites with its standard error and the quantile a 95% interval takes; arrays (...).

    With fewer than three sites ``se`` holds the within-site variance alone and the quantile is the normal one: the
    number is then about these hospitals only.
    """

    mean: Floats
    se: Floats
    quantile: Floats
    tau2: Floats
    sites: Integers

    @property
    def estimable(self) -> Booleans:
        return np.asarray(self.sites >= ESTIMABLE_SITES)


@dataclass(frozen=True, slots=True, eq=False)
class Heterogeneity:
    """How much hospitals differ beyond chance; NaN where not estimable. tau^2 is in units of the metric squared."""

    tau2: Floats
    tau2_low: Floats
    tau2_high: Floats
    q: Floats
    i2: Floats
    i2_low: Floats
    i2_high: Floats


@publishes(
    "tau2",
    title="Variance between hospitals",
    formula="τ² ≥ 0 with Σ_s (θ_s − θ̂)² / (v_s + τ²) = S − 1",
    source="Paule and Mandel 1982",
    words="How much hospitals' true values differ, as a variance; never under nought.",
)
def paule_mandel(y: Floats, v: Floats) -> Floats:
    """Return tau^2 (...): where the generalised Q equals its degrees of freedom, never under 0.

    Paule and Mandel, J. Res. NBS 1982; 87:377. A moment estimator may go negative on alike sites; a variance may not.
    """
    y, v, sites = _filled(y, v)
    return _where_q_is(y, v, _freedom(sites)).tau2


@publishes(
    "estimate",
    "case_weighted",
    "scope",
    title="Score over hospitals",
    formula="site-equal: Σ_s θ_s / S; case-weighted: Σ_s n_s θ_s / Σ_s n_s",
    source="Röver et al. 2015",
    words=(
        "The plain mean over hospitals, each counting the same, decides the rank; the mean in which every "
        "case counts the same stands beside it. With fewer than three hospitals the number is about these "
        "hospitals only."
    ),
)
def pool(y: Floats, v: Floats, weights: Floats | None = None) -> Pooled:
    """Return the mean of the sites under fixed ``weights``; without, every site counts the same.

    Random effects with the modified Knapp-Hartung standard error: Student's t with sites - 1 degrees of freedom, and
    a variance factor never under 1 (Röver, Knapp and Friede, BMC MRM 2015; 15:99).
    """
    y, v, sites = _filled(y, v)
    estimable, freedom = sites >= ESTIMABLE_SITES, _freedom(sites)
    fit = _where_q_is(y, v, freedom)
    tau2 = np.where(estimable, fit.tau2, 0.0)
    share = _shares(v, sites, weights)
    mean = np.einsum("...s,...s->...", share, y)
    spread = v if _complete(v, sites) else np.where(np.isfinite(v), v, 0.0)
    variance = np.einsum("...s,...s,...s->...", share, share, spread + tau2[..., None])
    # Q about any mean is Q about its own weighted mean plus the weight of the distance between the two.
    factor = (fit.q + fit.weight * (mean - fit.mean) ** 2) / freedom
    variance *= np.where(estimable, np.maximum(1.0, factor), 1.0)
    by_freedom = stdtrit(np.maximum(np.arange(y.shape[-1] + 1) - 1.0, 1.0), 0.975)
    quantile = np.where(estimable, by_freedom[sites], ndtri(0.975))
    empty = sites == 0
    return Pooled(np.where(empty, np.nan, mean), np.where(empty, np.nan, np.sqrt(variance)), quantile, tau2, sites)


def inverse_variance(y: Floats, v: Floats) -> Pooled:
    """Return the classical random-effects mean: sites weighted by 1 / (v + tau^2)."""
    filled, variances, sites = _filled(y, v)
    tau2 = np.where(sites >= ESTIMABLE_SITES, _where_q_is(filled, variances, _freedom(sites)).tau2, 0.0)
    return pool(y, v, 1.0 / (variances + tau2[..., None]))


@publishes(
    "heterogeneity",
    "q",
    "q_df",
    "i2",
    "i2_low",
    "i2_high",
    "tau2_low",
    "tau2_high",
    title="Heterogeneity",
    formula="Q = Σ w_s (θ_s − θ̂)²; I² = τ² / (τ² + typical v); limits where Q(τ²) meets the χ² quantiles",
    source="Higgins and Thompson 2002; Viechtbauer 2007",
    words="The share of the scatter between hospitals that chance does not explain, with its interval.",
)
def heterogeneity(y: Floats, v: Floats) -> Heterogeneity:
    """Return tau^2, Q and I^2 with their 95% intervals by the Q-profile method (Viechtbauer, Stat. Med. 2007; 26:37).

    I^2 is tau^2 over tau^2 plus the typical within-site variance (Higgins and Thompson, Stat. Med. 2002; 21:1539).
    """
    y, v, sites = _filled(y, v)
    freedom = _freedom(sites)
    fixed = _where_q_is(y, v, np.full(sites.shape, np.inf))
    typical = freedom * fixed.weight / np.maximum(fixed.weight**2 - (v**-2).sum(axis=-1), _TINY)
    bounds = (freedom, chdtri(freedom, 0.025), chdtri(freedom, 0.975))
    tau2, low, high = (_where_q_is(y, v, np.asarray(bound)).tau2 for bound in bounds)
    shares = (part / np.maximum(part + typical, _TINY) for part in (tau2, low, high))
    values = (tau2, low, high, fixed.q, *shares)
    return Heterogeneity(*(np.where(sites >= ESTIMABLE_SITES, value, np.nan) for value in values))


@publishes(
    "low",
    "high",
    title="95% interval",
    formula=(
        "θ̄ ± t₀.₉₇₅,S−1 · se, se² = max(1, q) · Σ_s (v_s + τ²) / S², q = Knapp-Hartung's factor; on the "
        "logit scale by the delta method"
    ),
    source="Knapp and Hartung 2003; Röver et al. 2015; IntHout et al. 2014",
    words=(
        "Where the mean over hospitals like these lies with 95%; the modified Knapp-Hartung interval, which "
        "few hospitals do not make too short."
    ),
)
def confidence_interval(pooled: Pooled, *, upper: float, size: Floats | float) -> tuple[Floats, Floats]:
    """Return the 95% interval of the mean; ``size`` is the number of cases behind it."""
    return bounded_interval(pooled.mean, pooled.se, pooled.quantile, upper=upper, size=size)


@publishes(
    "prediction",
    title="A new hospital",
    formula="θ̄ ± t₀.₉₇₅,S−1 · √(τ² + se²)",
    source="Partlett and Riley 2017",
)
def prediction_interval(pooled: Pooled, *, upper: float, size: Floats | float) -> tuple[Floats, Floats]:
    """Return where the true value of a new hospital is expected with 95%; NaN where not estimable.

    With sites - 1 degrees of freedom, as the Knapp-Hartung interval (Partlett and Riley, Stat. Med. 2017; 36:301).
    """
    spread = np.sqrt(pooled.tau2 + pooled.se**2)
    low, high = bounded_interval(pooled.mean, spread, pooled.quantile, upper=upper, size=size)
    return np.where(pooled.estimable, low, np.nan), np.where(pooled.estimable, high, np.nan)


def bounded_interval(
    mean: Floats, se: Floats, quantile: Floats | float, *, upper: float, size: Floats | float
) -> tuple[Floats, Floats]:
    """Return an interval that stays within [0, ``upper``].

    On the logit scale by the delta method, taken at the mean, so that a site at exactly 0 or 1 has no infinite logit.
    Where the standard error is more than half of what the delta method can stand, near the ends of the range, the
    score interval with the effective size mean (1 - mean) / se^2 takes its place (Wilson, JASA 1927; 22:209).
    """
    p, s = np.clip(np.asarray(mean) / upper, 0.0, 1.0), np.asarray(se) / upper
    slope = p * (1.0 - p)
    by_logit = (slope > 0) & (s <= _DELTA_LIMIT * slope)
    centre, half = logit(np.where(by_logit, p, 0.5)), quantile * s / np.where(by_logit, slope, 1.0)
    effective = np.where(slope > 0, slope / np.maximum(s, _TINY) ** 2, size)
    score_low, score_high = _score_interval(p, effective, quantile)
    low = np.where(by_logit, expit(centre - half), score_low)
    high = np.where(by_logit, expit(centre + half), score_high)
    return np.asarray(upper * np.minimum(low, p)), np.asarray(upper * np.maximum(high, p))


def _score_interval(p: Floats, size: Floats, quantile: Floats | float) -> tuple[Floats, Floats]:
    ratio = quantile**2 / np.maximum(size, _TINY)
    centre, half = p + ratio / 2, np.sqrt(ratio * (p * (1 - p) + ratio / 4))
    return (centre - half) / (1 + ratio), (centre + half) / (1 + ratio)


class _Fit(NamedTuple):
    """tau^2 with the sum of the weights 1 / (v + tau^2), their mean and Q there; arrays (...)."""

    tau2: Floats
    weight: Floats
    mean: Floats
    q: Floats


def _where_q_is(y: Floats, v: Floats, target: Floats) -> _Fit:
    """Return the tau^2 at which the generalised Q has come down to ``target``; 0 where it starts under it.

    Newton's steps from 0 on 1 / Q, which is a straight line in tau^2 where the sites' variances are alike.
    """
    shape, sites = y.shape[:-1], y.shape[-1]
    tau2, total, mean, q = np.zeros((4, int(np.prod(shape))))
    y, v, target = y.reshape(tau2.size, sites), v.reshape(tau2.size, sites), target.reshape(-1)
    rows = max(1, _CELLS_AT_ONCE // max(1, sites))
    for start in range(0, tau2.size, rows):
        part = slice(start, start + rows)
        _solve(y[part], v[part], target[part], _Fit(tau2[part], total[part], mean[part], q[part]))
    return _Fit(*(array.reshape(shape) for array in (tau2, total, mean, q)))


def _solve(y: Floats, v: Floats, target: Floats, fit: _Fit) -> None:
    """Fill ``fit`` for some rows (rows, sites)."""
    tau2, total, mean, q = fit
    rows = np.arange(tau2.size)
    for _ in range(_NEWTON_STEPS):
        weight = v + tau2[rows, None]
        np.divide(1.0, weight, out=weight)
        total[rows] = weight.sum(axis=1)
        mean[rows] = np.einsum("rs,rs->r", weight, y) / np.maximum(total[rows], _TINY)
        terms = y - mean[rows, None]
        terms *= terms
        terms *= weight
        q[rows] = terms.sum(axis=1)
        excess = q[rows] - target
        unsolved = (excess > _TOLERANCE * target) | ((excess < -_TOLERANCE * target) & (tau2[rows] > 0))
        if not unsolved.any():
            break
        rows, y, v, target, excess = rows[unsolved], y[unsolved], v[unsolved], target[unsolved], excess[unsolved]
        slope = np.einsum("rs,rs->r", weight[unsolved], terms[unsolved])
        # A step back is taken by the plain rule, which from the right of the root never passes zero by much.
        scale = np.where(excess > 0, q[rows] / target, 1.0)
        tau2[rows] = np.maximum(tau2[rows] + excess / slope * scale, 0.0)


def _shares(v: Floats, sites: Integers, weights: Floats | None) -> Floats:
    if weights is None and _complete(v, sites):
        return np.full(v.shape, 1.0 / max(v.shape[-1], _TINY))
    present = np.isfinite(v)
    shares = present.astype(np.float64) if weights is None else np.where(present, weights, 0.0)
    return np.asarray(shares / np.maximum(shares.sum(axis=-1, keepdims=True), _TINY))


def _complete(v: Floats, sites: Integers) -> bool:
    """Tell whether no site is missing anywhere, as on most boards: half a million pairs have nothing to fill in."""
    return bool(v.size) and int(sites.min()) == v.shape[-1]


def _filled(y: Floats, v: Floats) -> tuple[Floats, Floats, Integers]:
    """Give a missing site an infinite variance, hence no weight, and return the number of sites there are."""
    present = np.isfinite(y)
    if present.all():
        return y, np.maximum(v, _TINY), np.full(y.shape[:-1], y.shape[-1])
    return np.where(present, y, 0.0), np.where(present, np.maximum(v, _TINY), np.inf), present.sum(axis=-1)


def _freedom(sites: Integers) -> Floats:
    return np.maximum(sites - 1, 1).astype(np.float64)
