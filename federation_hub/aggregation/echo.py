"""Free riders: whoever trains nothing and still wants the model can only send what is there already.

The cheapest such update is the model's own last change, with a little noise to look different; or nothing at all. Two
honest updates in a row seldom point the same way so closely, yet on a small and smooth problem they may: so it is told
and not refused. Whoever adds more noise than a seventh of the change itself is not found.
"""

from contextlib import ExitStack
from math import sqrt
from pathlib import Path

from federation_hub.aggregation.geometry import inner_products
from federation_hub.aggregation.layout import read_layout

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
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb", buffering=0)) for path in (update, base, before)]
        layouts = [read_layout(path) for path in (update, base, before)]
        sources = [(file.fileno(), layout) for file, layout in zip(files, layouts, strict=True)]
        products = inner_products(sources, layouts[1])
    change = products[1, 1] - 2 * products[1, 2] + products[2, 2]
    lengths = sqrt(max(change, 0.0) * products[0, 0])
    return float((products[0, 1] - products[0, 2]) / lengths) if lengths > 0 else None
