"""Error feedback over the rounds of a study: what rounding lost lies in one folder and goes into the next update."""

from pathlib import Path

from pipelines.compression.coding import Level
from pipelines.compression.files import compress


def compress_round(update: Path, out: Path, level: Level, fraction: float, residuals: Path, number: int) -> None:
    """Compress a round's update, with the residual of the round before it, and keep the new one in ``residuals``.

    A round that is done again, after a crash or in another attempt, starts from the same residual and gives the same
    bytes.
    """
    residuals.mkdir(mode=0o700, parents=True, exist_ok=True)
    earlier = max((path for path in residuals.glob("*.safetensors") if int(path.stem) < number), default=None)
    left = residuals / f"{number:05}.safetensors"
    compress(update, out, level, fraction=fraction, residual=earlier, left=left)
    for path in residuals.glob("*.safetensors"):
        if path not in (earlier, left):
            path.unlink()
