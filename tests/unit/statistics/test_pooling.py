"""Random effects, against a published meta-analysis, two libraries and simulation."""

import warnings

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from benchmarks.statistics.pooling import (
    bounded_interval,
    confidence_interval,
    heterogeneity,
    inverse_variance,
    paule_mandel,
    pool,
    prediction_interval,
)

with warnings.catch_warnings():
    # PyMARE leaves a file open when it is imported.
    warnings.simplefilter("ignore")
    from pymare.stats import q_gen, q_profile

# Vaccination against tuberculosis, 13 trials (Colditz et al., JAMA 1994; 271:698): cases and healthy, treated and not.
BCG = np.array(
    [
        [4, 119, 11, 128],
        [6, 300, 29, 274],
        [3, 228, 11, 209],
        [62, 13536, 248, 12619],
        [33, 5036, 47, 5761],
        [180, 1361, 372, 1079],
        [8, 2537, 10, 619],
        [505, 87886, 499, 87892],
        [29, 7470, 45, 7232],
        [17, 1699, 65, 1600],
        [186, 50448, 141, 27197],
        [5, 2493, 3, 2338],
        [27, 16886, 29, 17825],
    ],
    dtype=float,
)
A, B, C, D = BCG.T
LOG_RISK_RATIO = np.log(A / (A + B)) - np.log(C / (C + D))
VARIANCE = 1 / A - 1 / (A + B) + 1 / C - 1 / (C + D)

# Eight alike sites: between them there is less scatter than chance alone would make.
ALIKE = np.array([1.88, 1.90, 1.89, 1.91, 1.87, 1.90, 1.88, 1.89])
ALIKE_VARIANCE = np.linspace(0.02, 0.2, 8)


def made_up_sites(seed: int, sites: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.005, 0.1, sites)
    return rng.normal(1.0, np.sqrt(v + 0.05)), v


class TestPublished:
    """The values the R package metafor (Viechtbauer 2010) documents for the trials of Colditz et al."""

    def test_q(self) -> None:
        assert heterogeneity(LOG_RISK_RATIO, VARIANCE).q == pytest.approx(152.2330, abs=5e-5)

    def test_paule_mandel(self) -> None:
        assert paule_mandel(LOG_RISK_RATIO, VARIANCE) == pytest.approx(0.3181, abs=5e-5)

    def test_interval_of_tau_squared(self) -> None:
        found = heterogeneity(LOG_RISK_RATIO, VARIANCE)
        assert [float(found.tau2_low), float(found.tau2_high)] == pytest.approx([0.1197, 1.1115], abs=5e-5)

    def test_interval_of_i_squared(self) -> None:
        found = heterogeneity(LOG_RISK_RATIO, VARIANCE)
        assert [float(found.i2_low), float(found.i2_high)] == pytest.approx([0.8192, 0.9768], abs=5e-5)


class TestAgainstOtherLibraries:
    @pytest.mark.parametrize(("seed", "sites"), [(0, 3), (1, 5), (2, 8), (3, 40)])
    def test_paule_mandel_is_statsmodels_iterated(self, seed: int, sites: int) -> None:
        y, v = made_up_sites(seed, sites)
        found, reference = inverse_variance(y, v), combine_effects(y, v, method_re="iterated", atol=1e-12)
        assert found.tau2 == pytest.approx(reference.tau2, rel=1e-6, abs=1e-9)
        assert found.mean == pytest.approx(reference.mean_effect_re, rel=1e-6)
        assert found.se == pytest.approx(reference.sd_eff_w_re, rel=1e-6)

    @pytest.mark.parametrize(("seed", "sites"), [(0, 3), (1, 5), (2, 8)])
    def test_the_interval_of_tau_squared_is_pymares(self, seed: int, sites: int) -> None:
        y, v = made_up_sites(seed, sites)
        found, reference = heterogeneity(y, v), q_profile(y, v, np.ones((sites, 1)))
        assert found.tau2_low == pytest.approx(reference["ci_l"], abs=1e-3)
        assert found.tau2_high == pytest.approx(reference["ci_u"], rel=1e-3)

    def test_q_at_tau_squared_is_its_degrees_of_freedom(self) -> None:
        """The definition of Paule and Mandel, with PyMARE's Q."""
        tau2 = paule_mandel(LOG_RISK_RATIO, VARIANCE)
        q = q_gen(LOG_RISK_RATIO[:, None], VARIANCE[:, None], np.ones((13, 1)), tau2)
        assert float(np.squeeze(q)) == pytest.approx(12, rel=1e-8)

    def test_tau_squared_is_floored_where_a_library_lets_it_go_negative(self) -> None:
        """statsmodels' ``chi2`` gives a negative variance on alike sites and a mean from it; ours is nought."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trap = combine_effects(ALIKE, ALIKE_VARIANCE, method_re="chi2")
        assert trap.tau2 < 0
        assert paule_mandel(ALIKE, ALIKE_VARIANCE) == 0.0
        fixed = np.average(ALIKE, weights=1 / ALIKE_VARIANCE)
        assert inverse_variance(ALIKE, ALIKE_VARIANCE).mean == pytest.approx(fixed)


class TestSiteEqualMean:
    def test_the_mean_is_the_plain_mean(self) -> None:
        assert pool(LOG_RISK_RATIO, VARIANCE).mean == pytest.approx(LOG_RISK_RATIO.mean())

    def test_sites_with_equal_variance_give_the_t_interval(self) -> None:
        """The textbook case: what random effects come to is the one-sample t interval over the sites."""
        y = np.array([0.70, 0.78, 0.85, 0.81, 0.74])
        found = pool(y, np.full(5, 1e-4))
        low, high = stats.t.interval(0.95, 4, y.mean(), stats.sem(y))
        assert found.mean - found.quantile * found.se == pytest.approx(low)
        assert found.mean + found.quantile * found.se == pytest.approx(high)

    def test_alike_sites_are_no_surer_than_their_own_variances_allow(self) -> None:
        """The modification of Knapp and Hartung's variance: its factor is never under 1."""
        assert pool(ALIKE, ALIKE_VARIANCE).se == pytest.approx(np.sqrt(ALIKE_VARIANCE.sum()) / 8)

    def test_case_weights_are_used(self) -> None:
        y, v, cases = np.array([0.7, 0.8, 0.9]), np.full(3, 1e-3), np.array([100.0, 100.0, 800.0])
        assert pool(y, v, cases).mean == pytest.approx(np.average(y, weights=cases))

    @pytest.mark.parametrize("sites", [1, 2])
    def test_under_three_sites_the_number_is_about_these_sites(self, sites: int) -> None:
        """What lies between hospitals is not estimable, so it is left out and said to be."""
        y, v = np.array([0.8, 0.9])[:sites], np.array([4e-4, 4e-4])[:sites]
        found = pool(y, v)
        assert not found.estimable
        assert found.se == pytest.approx(np.sqrt(v.sum()) / sites)
        assert found.quantile == pytest.approx(1.959964, abs=1e-6)
        assert np.isnan(heterogeneity(y, v).i2)
        assert np.isnan(prediction_interval(found, upper=1.0, size=100)[0])

    def test_a_missing_site_is_as_if_it_were_not_there(self) -> None:
        y, v = made_up_sites(4, 5)
        gaps = pool(np.append(y, np.nan), np.append(v, np.nan))
        whole = pool(y, v)
        assert (gaps.mean, gaps.se, gaps.sites) == (pytest.approx(whole.mean), pytest.approx(whole.se), 5)

    def test_no_site_gives_no_number(self) -> None:
        assert np.isnan(pool(np.array([np.nan, np.nan]), np.array([np.nan, np.nan])).mean)


class TestIntervals:
    def test_away_from_the_ends_it_is_the_logit_interval(self) -> None:
        low, high = bounded_interval(np.array(0.8), np.array(0.03), 1.96, upper=1.0, size=100)
        half = 1.96 * 0.03 / (0.8 * 0.2)
        expected = [1 / (1 + np.exp(-(np.log(4) + side * half))) for side in (-1, 1)]
        assert [float(low), float(high)] == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("events", "n", "published"), [(0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))], ids=["0 of 20", "1 of 29"]
    )
    def test_near_the_ends_it_is_the_published_score_interval(
        self, events: int, n: int, published: tuple[float, float]
    ) -> None:
        """Newcombe, Stat. Med. 1998; 17:857, table I, method 3."""
        p = events / n
        found = bounded_interval(np.array(p), np.array(np.sqrt(p * (1 - p) / n)), 1.959964, upper=1.0, size=n)
        assert [float(side) for side in found] == pytest.approx(published, abs=5e-5)

    def test_a_perfect_score_has_an_interval_of_some_width(self) -> None:
        low, high = bounded_interval(np.array(1.0), np.array(0.0), 1.96, upper=1.0, size=100)
        assert 0.9 < low < 0.99
        assert high == 1.0

    def test_millimetres_scale_with_their_cap(self) -> None:
        share = bounded_interval(np.array(0.1), np.array(0.01), 1.96, upper=1.0, size=100)
        millimetres = bounded_interval(np.array(5.0), np.array(0.5), 1.96, upper=50.0, size=100)
        assert [50 * float(side) for side in share] == pytest.approx([float(side) for side in millimetres])

    def test_a_new_hospital_is_less_certain_than_the_mean_of_hospitals(self) -> None:
        pooled = pool(np.array([0.70, 0.78, 0.85, 0.81]), np.full(4, 1e-4))
        low, high = confidence_interval(pooled, upper=1.0, size=400)
        new_low, new_high = prediction_interval(pooled, upper=1.0, size=400)
        assert new_low < low < pooled.mean < high < new_high


@pytest.mark.parametrize("sites", [3, 5, 8])
@pytest.mark.parametrize("tau", [0.0, 0.04])
def test_intervals_cover_what_they_say(sites: int, tau: float) -> None:
    """4,000 federations of unequal hospitals: the 95% interval holds the true mean in 94% or more of them."""
    rng = np.random.default_rng(sites)
    v = rng.uniform(1e-4, 2e-3, (4000, sites))
    y = rng.normal(0.8, np.sqrt(tau**2 + v))
    low, high = confidence_interval(pool(y, v), upper=1.0, size=1000)
    assert np.mean((low <= 0.8) & (high >= 0.8)) >= 0.94
