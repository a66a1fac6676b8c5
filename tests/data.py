"""Where the real data sets lie: the folder ``MEDSILO_DATA`` names, else ``../shared/data`` beside the checkout.

The data are openly licensed and never committed. Without them a test that needs them is skipped with the reason, except
where ``CI`` is set: there nothing may be skipped.
"""

import os
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parent.parent


def data_root() -> Path:
    """Return the folder that holds one folder a data set; it need not exist."""
    named = os.environ.get("MEDSILO_DATA")
    return Path(named).expanduser() if named else _CHECKOUT.parent / "shared" / "data"


def data_folder(name: str) -> Path:
    """Return the folder of one data set, such as ``hippocampus``; skip the test, or in CI fail it, without one."""
    folder = data_root() / name
    if not folder.is_dir():
        reason = f"{name} is not in {data_root()}; set MEDSILO_DATA to the folder that holds it"
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
