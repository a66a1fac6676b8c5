"""Updates made smaller before they leave, and what rounding lost, kept here until it is sent."""

import shutil
from pathlib import Path

from pipelines.compression.feedback import compress_round
from pipelines.compression.files import compress
from silo_node.state import Home
from silo_node.wire.compression import KEEPS_A_RESIDUAL, Known, fraction_of


def compress_update(home: Home, study_id: str, number: int, update: Path, compression: Known) -> Path:
    """Write the compressed update of a round beside the plain one and return where it lies.

    What an earlier round left here goes into this one, also where the site has become stricter since and now sends at
    a level that keeps nothing back.
    """
    if compression.level == "none":
        return update
    out, folder = update.with_suffix(".update"), home.residuals / study_id
    if compression.level in KEEPS_A_RESIDUAL or folder.exists():
        compress_round(update, out, compression.level, fraction_of(compression), folder, number)
    else:
        compress(update, out, compression.level)
    return out


def forget_residuals(home: Home, study_id: str) -> None:
    """Remove what rounding lost in a study that is over."""
    shutil.rmtree(home.residuals / study_id, ignore_errors=True)
