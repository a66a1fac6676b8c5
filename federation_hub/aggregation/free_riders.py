"""Updates that nobody need have trained for: nought, an earlier one again, or the global model's last change once more.

A plain free rider sends back the model it was given (Fraboni, Vidal and Lorenzi, AISTATS 2021); one that hides a little
sends the difference of the last two global models, with or without noise (the delta weights of Lin, Du and Liu 2019).
Both are looked for with what the hub can measure in one pass: lengths, as in Lin et al., and the cosine with the last
change. A mark is no proof and refuses nothing; who disguises himself well is not found.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType

import numpy as np

from federation_hub.aggregation.fold import Update
from federation_hub.aggregation.geometry import inner_products
from federation_hub.aggregation.layout import Layout, read_layout
from pipelines.compression.files import is_buffer

SMALL = 0.1
"""An update shorter than this share of the others' median length is as good as none."""

ALIKE, UNLIKE = 0.95, 0.8
"""A cosine with the last change from which on an update is that change again, where the others' median is under the
second: in a smooth training all updates point the same way, and that says nothing of any site."""

IDLE, REPEATED = "update-idle", "update-repeated"


@dataclass(frozen=True, slots=True)
class Trace:
    """What was measured of one update."""

    silo_id: str
    norm: float
    steps: int
    """Local steps it should have taken."""

    cosine: float | None = None
    """With the last change of the global model; None before there was one."""

    replayed: bool = False
    """Whether the silo sent the same bytes for another global model before."""


def measure(
    base: Path, previous: Path | None, updates: Sequence[Update], replayed: frozenset[str] = frozenset()
) -> list[Trace]:
    """Read a round's updates once, beside the last two global models, and return what is needed to judge them.

    Running statistics are left out: they follow the cases and not the training.
    """
    layout = Layout(tuple(tensor for tensor in read_layout(base).tensors if not is_buffer(tensor.name)))
    models = [base, previous] if previous is not None else []
    with ExitStack() as stack:
        sources = [
            (stack.enter_context(path.open("rb", buffering=0)).fileno(), read_layout(path))
            for path in [*(update.path for update in updates), *models]
        ]
        products = inner_products(sources, layout, norms_only=previous is None)
    norms = np.sqrt(np.diag(products))[: len(updates)]
    cosines = _cosines(products, norms, len(updates)) if previous is not None else [None] * len(updates)
    return [
        Trace(update.silo_id, float(norm), update.steps, cosine, update.silo_id in replayed)
        for update, norm, cosine in zip(updates, norms, cosines, strict=True)
    ]


def _cosines(products: np.ndarray, norms: np.ndarray, count: int) -> list[float | None]:
    """Return each update's cosine with the difference of the last two rows, the global models."""
    now, before = count, count + 1
    change = products[now, now] - 2 * products[now, before] + products[before, before]
    length = float(np.sqrt(max(change, 0.0)))
    return [
        float((products[row, now] - products[row, before]) / (norms[row] * length)) if norms[row] * length else None
        for row in range(count)
    ]


def marks(traces: Sequence[Trace]) -> Mapping[str, str]:
    """Return the code of each update that stands out, by silo."""
    found = {}
    for place, trace in enumerate(traces):
        others = [*traces[:place], *traces[place + 1 :]]
        if _is_idle(trace, others):
            found[trace.silo_id] = IDLE
        elif trace.replayed or _repeats(trace, others):
            found[trace.silo_id] = REPEATED
    return MappingProxyType(found)


def _is_idle(trace: Trace, others: Sequence[Trace]) -> bool:
    """Nought, or far shorter than the others, also for one that had fewer steps to go."""
    if trace.norm == 0.0:
        return True
    if not others:
        return False
    fewer_steps = min(1.0, trace.steps / median(other.steps for other in others))
    return trace.norm < SMALL * fewer_steps * median(other.norm for other in others)


def _repeats(trace: Trace, others: Sequence[Trace]) -> bool:
    known = [other.cosine for other in others if other.cosine is not None]
    return trace.cosine is not None and trace.cosine >= ALIKE and bool(known) and median(known) < UNLIKE
