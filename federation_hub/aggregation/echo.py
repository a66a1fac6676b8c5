"""Free riders: whoever trains nothing and still wants the model can only send what is there already.

The cheapest such update is the model's own last change, with a little noise to look different; or nothing at all. Two
honest updates in a row seldom point the same way so closely, yet on a small and smooth problem they may: so it is told
and not refused. Whoever adds more noise than a seventh of the change itself is not found.
"""

from contextlib import ExitStack
from math import sqrt
from pathlib import Path

import numpy as np

from federation_hub.aggregation.layout import BLOCK_VALUES, Float32, read_block, read_layout

ECHO = 0.99
"""The cosine with the model's last change from which an update says nothing of its own: noise of 14% of its length."""


def is_echo(update: Path, base: Path, before: Path | None, *, norm: float) -> bool:
    """Tell whether an update is nothing, or the change that led from the model ``before`` to its ``base``."""
    if norm == 0.0:
        return True
    found = None if before is None else likeness(update, base, before)
    return found is not None and found >= ECHO


def likeness(update: Path, base: Path, before: Path) -> float | None:
    """Return the cosine of an update with a model's last change, -1 to 1; None where the model did not change."""
    sums = np.zeros(3)
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb", buffering=0)).fileno() for path in (update, base, before)]
        layouts = [read_layout(path).by_name for path in (update, base, before)]
        buffers: Float32 = np.empty((3, BLOCK_VALUES), np.float32)
        for tensor in layouts[1].values():
            for start in range(0, tensor.values, BLOCK_VALUES):
                count = min(BLOCK_VALUES, tensor.values - start)
                own, change, old = (
                    read_block(file, layout[tensor.name], start, buffer[:count])
                    for file, layout, buffer in zip(files, layouts, buffers, strict=True)
                )
                # In float32, a third of the time: a cosine that is told from 0.99 up needs no sixteen digits.
                change -= old
                sums += own @ change, own @ own, change @ change
    lengths = sqrt(sums[1] * sums[2])
    return float(sums[0] / lengths) if lengths > 0 else None
