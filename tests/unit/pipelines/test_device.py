"""Where a network computes. No card is at hand: what is tried is the choice, and that the CPU changes no bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.bundles import read_bundle
from pipelines.device import CPU, GPU_SHARE, chosen_device, device_of, granted_device
from pipelines.job import LocalTraining
from pipelines.networks import to_arrays
from pipelines.training import open_trainer, run_round
from tests.unit.pipelines.examples import question, tiny_bundle, write_cohort

CARD = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("share", "available", "device"), [(0.0, True, CPU), (0.5, False, CPU), (0.0, False, CPU), (0.5, True, CARD)]
)
def test_the_card_is_taken_only_where_it_is_granted_and_there(
    share: float, available: bool, device: torch.device
) -> None:
    """A card that happens to be in the machine is not taken, and a grant without a card is no fault."""
    assert chosen_device(share, available=available) == device


def test_without_a_grant_nobody_looks_for_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for it would start the driver, which a jail without devices may not."""
    monkeypatch.delenv(GPU_SHARE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("looked"))
    assert granted_device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv(GPU_SHARE, "0.25")
    assert granted_device() == CARD


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_naming_the_cpu_changes_no_bit(tmp_path: Path, task: str) -> None:
    """And what a round gives away are arrays."""
    write_cohort(tmp_path / "cohort", task)
    tiny_bundle(tmp_path / "b.zip", task)
    bundle, local = read_bundle(tmp_path / "b.zip"), LocalTraining(epochs=1, batch_size=4, learning_rate=0.01)

    def trained(**where: torch.device) -> tuple[Any, dict[str, bytes]]:
        trainer, network = open_trainer(bundle, question(task), local, tmp_path / "cohort", seed=3, **where)
        assert device_of(network) == CPU
        score, update, _ = run_round(trainer, to_arrays(network), 1, validate_only=False)
        assert update is not None
        assert {type(array) for array in update.values()} == {np.ndarray}
        return score, {name: array.tobytes() for name, array in update.items()}

    assert trained() == trained(device=CPU)
