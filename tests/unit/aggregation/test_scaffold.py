"""SCAFFOLD by the book: the hub works the mean control variate out of the updates, whoever is missing."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from federation_hub.aggregation.fold import Update, fold, moment_path
from pipelines.memory import next_control
from silo_node.wire.strategies import Mean, NormClipping, Scaffold
from silo_node.wire.studies import LocalTraining

CASES = {"silo-000001": 10, "silo-000002": 25, "silo-000003": 65}
LOCAL = LocalTraining(optimiser="sgd", momentum=0.0, learning_rate=0.1, batch_size=8, epochs=2)


def test_the_hubs_control_variate_is_the_mean_of_the_silos(tmp_path: Path) -> None:
    """Over four rounds in which silos drop out and one joins late, without any silo telling its own."""
    rng = np.random.default_rng(5)
    model, moments = tmp_path / "start", dict[str, Path]()
    save_file({"a": rng.normal(size=(30, 40)).astype(np.float32), "b": np.zeros(3, np.float32)}, model)
    own: dict[str, dict[str, np.ndarray]] = {}
    for number, present in enumerate((CASES, list(CASES)[:2], list(CASES)[1:], CASES)):
        common = load_file(moments["control"]) if moments else None
        updates = []
        for silo in present:
            change = {name: rng.normal(size=array.shape).astype(np.float32) for name, array in load_file(model).items()}
            path = tmp_path / f"{silo}.{number}"
            save_file(change, path)
            steps = LOCAL.steps(CASES[silo])
            updates.append(Update(silo, path, CASES[silo], steps=steps))
            own[silo] = next_control(own.get(silo), common, change, steps * LOCAL.learning_rate)
        out = tmp_path / f"model{number}"
        made = fold(model, updates, out, strategy=Scaffold(), moments=moments, population=100, rate=LOCAL.learning_rate)
        model, moments = out, {name: moment_path(out, name) for name in made.moments}
        control = load_file(moments["control"])
        for name, array in control.items():
            expected = sum(CASES[silo] / 100 * own[silo][name].astype(np.float64) for silo in own)
            np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5)


def test_the_model_moves_by_the_mean_update_and_its_rate(tmp_path: Path) -> None:
    save_file({"a": np.ones(5, np.float32)}, tmp_path / "start")
    for silo, value in (("silo-000001", 1.0), ("silo-000002", 3.0)):
        save_file({"a": np.full(5, value, np.float32)}, tmp_path / silo)
    updates = [Update(f"silo-00000{place}", tmp_path / f"silo-00000{place}", 10, steps=4) for place in (1, 2)]
    fold(tmp_path / "start", updates, tmp_path / "out", strategy=Scaffold(learning_rate=0.5), rate=0.1)
    assert load_file(tmp_path / "out")["a"].tolist() == [2.0] * 5
    assert np.allclose(load_file(tmp_path / "out.control")["a"], -2.0 / (4 * 0.1))


def test_a_stale_update_is_scaled_before_any_rule_sees_it(tmp_path: Path) -> None:
    """So a discount holds for rules by length, too, and the bytes do not depend on the size of a block."""
    rng = np.random.default_rng(2)
    save_file({"a": np.zeros(50, np.float32)}, tmp_path / "start")
    change = rng.normal(size=50).astype(np.float32)
    save_file({"a": change}, tmp_path / "one")
    save_file({"a": change * np.float32(0.5)}, tmp_path / "half")
    for rule in (Mean(), NormClipping(radius=1.0)):
        for block in (7, 1 << 15):
            stale = [Update("silo-000001", tmp_path / "one", 10, discount=0.5)]
            scaled = [Update("silo-000001", tmp_path / "half", 10)]
            found = fold(tmp_path / "start", stale, tmp_path / "x", robust=rule, block_values=block)
            assert found.digest == fold(tmp_path / "start", scaled, tmp_path / "y", robust=rule).digest
