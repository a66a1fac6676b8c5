"""Noise at the hub: everybody counts the same, nobody more than the norm, and the noise is what was derived."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

from federation_hub.aggregation.fold import Update, fold
from federation_hub.aggregation.private_mean import PrivateMean, planned_folds
from pipelines.privacy.accounting import Mechanism, epsilon_of
from pipelines.privacy.clipping import Clipping
from pipelines.privacy.randomness import SecretRandomness
from silo_node.wire.claims import claim_sheet, found_at_most
from tests.silo.test_privacy_ledger import AT_THE_HUB, plan
from tests.unit.aggregation.files import write


def folded(folder: Path, rows: np.ndarray, private: PrivateMean) -> np.ndarray:
    base = write(folder / "base", {"a": np.zeros(rows.shape[1], np.float32)})
    updates = [
        Update(f"silo-{place:08}", write(folder / f"u{place}", {"a": row}), 10 ** (place + 1))
        for place, row in enumerate(rows)
    ]
    fold(base, updates, folder / "new", private=private)
    return load_file(folder / "new")["a"]


def mean(noise: float, norm: float, quantile: float | None = None) -> PrivateMean:
    return PrivateMean(noise, Clipping(norm, quantile), SecretRandomness(b"n" * 32))


def test_every_silo_counts_the_same_and_is_clipped(tmp_path: Path) -> None:
    """Whatever its cases: one of length 5 is scaled down to 1, one of length a half stays."""
    rows = np.array([[3.0, 4.0], [0.0, 0.5]], np.float32)
    found = folded(tmp_path, rows, mean(1e-9, 1.0))
    assert found == pytest.approx([0.3, 0.65], abs=1e-6)


def test_the_noise_has_the_deviation_that_was_derived(tmp_path: Path) -> None:
    found = folded(tmp_path, np.zeros((4, 4000), np.float32), mean(3.0, 2.0))
    assert stats.kstest(found / (3.0 * 2.0 / 4), "norm").pvalue > 1e-3


def test_the_clipping_norm_follows_the_updates(tmp_path: Path) -> None:
    """Far too small it grows, far too large it shrinks; both noises are paid for together."""
    rows = np.full((200, 4), 5.0, np.float32)
    small, large = mean(0.5, 0.01, 0.5), mean(0.5, 1000.0, 0.5)
    folded(tmp_path, rows, small)
    folded(tmp_path, rows, large)
    assert small.next().clipping.norm > 0.0105
    assert large.next().clipping.norm < 950


def test_the_plans_epsilon_is_kept_over_all_rounds_and_the_spare_ones() -> None:
    study = plan(privacy=AT_THE_HUB)
    noise = PrivateMean.of(study, 1.0, SecretRandomness()).noise
    steps = planned_folds(study)
    assert steps == 4
    assert 5.9 < epsilon_of([Mechanism("gaussian", noise, 1.0, steps)], 1e-3) <= 6.0


def test_a_claim_sheet_names_unit_neighbours_trust_and_what_is_open() -> None:
    """Also where nothing is claimed; and the bound on attackers is the one of the hypothesis-testing view."""
    patient, silo, none = (claim_sheet(plan(privacy=p)) for p in (plan().privacy, AT_THE_HUB, None))
    assert [sheet.unit for sheet in (patient, silo, none)] == ["patient", "silo", "none"]
    for sheet in (patient, silo):
        terms = {claim.term for claim in sheet.claims}
        assert {"Unit of privacy", "Neighbouring data sets", "Epsilon and delta", "Composition", "Trust model"} <= terms
        assert len(sheet.not_covered) >= 5
    assert "need not be trusted" in str(patient.claims)
    assert "must be trusted" in str(silo.claims)
    assert (none.epsilon, none.most_found) == (None, None)
    assert found_at_most(0.0, 0.0) == 0.01
    assert found_at_most(np.log(2.0), 0.0) == 0.02
    assert found_at_most(20.0, 0.0) == 1.0
