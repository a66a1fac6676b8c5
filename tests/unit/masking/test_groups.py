"""Sums of groups in place of single updates: a robust rule passes over the group a liar has spoilt."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from federation_hub.aggregation.fold import Update, fold
from federation_hub.aggregation.group_means import plain_means
from silo_node.wire.envelope import new_key
from silo_node.wire.errors import IntegrityError
from silo_node.wire.masking import groups_of
from silo_node.wire.strategies import CoordinateMedian
from tests.unit.masking.rounds import plan_for, silo_ids

SILOS = silo_ids(9)


def updates_with(folder: Path, values: dict[str, float]) -> list[Update]:
    made = []
    for silo_id in SILOS:
        path = folder / f"{silo_id}.safetensors"
        save_file({"w": np.full(5, values.get(silo_id, 1.0), np.float32)}, path)
        made.append(Update(silo_id, path, 10))
    return made


def test_the_median_over_three_groups_is_not_moved_by_a_liar_in_one(tmp_path: Path) -> None:
    plan = plan_for(dict.fromkeys(SILOS, new_key()), groups=3)
    liar = groups_of(SILOS, 3, plan.seed)[1][0]
    updates = updates_with(tmp_path, {liar: -16.0})
    means = plain_means(updates, plan, updates[0].path, tmp_path / "round")
    assert [(mean.silo_id, mean.weight) for mean in means] == [(f"group-00{place}", 30) for place in range(3)]
    spoilt = load_file(means[1].path)["w"]
    assert np.allclose(spoilt, (1 + 1 - 16) / 3, atol=1e-6)
    save_file({"w": np.zeros(5, np.float32)}, tmp_path / "base")
    fold(tmp_path / "base", means, tmp_path / "next", robust=CoordinateMedian())
    assert load_file(tmp_path / "next")["w"].tolist() == [1.0] * 5


def test_a_group_with_too_few_has_no_sum(tmp_path: Path) -> None:
    """Two silos of a group would each learn the other's update."""
    plan = plan_for(dict.fromkeys(SILOS, new_key()), groups=3)
    gone = groups_of(SILOS, 3, plan.seed)[2][0]
    updates = [update for update in updates_with(tmp_path, {}) if update.silo_id != gone]
    means = plain_means(updates, plan, updates[0].path, tmp_path / "round")
    assert [mean.silo_id for mean in means] == ["group-000", "group-001"]


def test_a_value_that_does_not_fit_leaves_no_sum(tmp_path: Path) -> None:
    plan = plan_for(dict.fromkeys(SILOS, new_key()), groups=3)
    updates = updates_with(tmp_path, {SILOS[0]: 17.0})
    with pytest.raises(IntegrityError, match="masking-overflow"):
        plain_means(updates, plan, updates[0].path, tmp_path / "round")
