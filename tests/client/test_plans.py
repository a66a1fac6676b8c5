"""A study's plan as a file, and the exact plan made from it."""

from pathlib import Path

import pytest

from federation_hub.client.plans import plan_text, read_plan
from silo_node.wire.errors import BadInput, ConfigError

MODEL = "blake3:" + "a" * 64


def _plan(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return path


def test_the_file_that_study_new_writes_can_be_read(tmp_path: Path) -> None:
    text = plan_text(name="first", benchmark="toy", model=MODEL, silos=['St. "A"', "Ö"], rounds=4)
    plan = read_plan(_plan(tmp_path, text))
    assert (plan.name, plan.rounds, plan.silos, plan.quorum) == ("first", 4, ('St. "A"', "Ö"), None)


def test_an_unknown_key_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    text = plan_text(name="first", benchmark="toy", model=MODEL, silos=["A"], rounds=4)
    with pytest.raises(ConfigError, match="did you mean rounds"):
        read_plan(_plan(tmp_path, text.replace("rounds = 4", "round = 4")))


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [("rounds = 4", "rounds = 0", "rounds"), (MODEL, "blake3:ab", "model"), ("epochs = 1", "epoch = 1", "local.epoch")],
)
def test_a_wrong_value_is_named(tmp_path: Path, before: str, after: str, field: str) -> None:
    text = plan_text(name="first", benchmark="toy", model=MODEL, silos=["A"], rounds=4)
    with pytest.raises(ConfigError) as caught:
        read_plan(_plan(tmp_path, text.replace(before, after)))
    assert caught.value.code == "plan-invalid"
    assert field in caught.value.detail


def test_a_plan_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_plan(tmp_path / "none.toml")
    assert caught.value.code == "file-missing"
