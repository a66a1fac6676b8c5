"""The pins decide: what is tried here is what they name."""

from importlib.metadata import version
from pathlib import Path

import pytest

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
PINS = [line.split("==") for line in CONSTRAINTS.read_text("utf-8").splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(("name", "pinned"), PINS, ids=[pin[0] for pin in PINS])
def test_every_pin_is_what_is_installed(name: str, pinned: str) -> None:
    """But for the build a wheel was made for, such as ``+cpu``."""
    assert version(name).split("+")[0] == pinned
