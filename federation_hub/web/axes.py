"""Axes: which range a chart spans, where its ticks stand, and where a value falls on it."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from silo_node.web.formats import MINUS


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis. ``places`` is how many decimals its tick labels need."""

    low: float
    high: float
    ticks: tuple[float, ...]
    places: int

    def share(self, value: float) -> float:
        """Return where a value falls: 0 at the low end, 1 at the high end, kept inside the axis."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def label(self, value: float) -> str:
        return f"{value:.{self.places}f}".replace("-", MINUS)


def nice_axis(
    values: Iterable[float | None], *, lowest: float | None = None, highest: float | None = None, ticks: int = 5
) -> Axis:
    """Return an axis over the finite values with about ``ticks`` round tick values.

    ``lowest`` and ``highest`` are the metric's own bounds: no interval is drawn on an axis beyond them. With no
    value at all the axis spans the bounds, or 0 to 1.
    """
    finite = [value for value in values if value is not None and isfinite(value)]
    if not finite:
        finite = [0.0 if lowest is None else lowest, 1.0 if highest is None else highest]
    low, high = min(finite), max(finite)
    if high - low < 1e-9 * max(1.0, abs(high)):
        pad = max(abs(high) * 0.05, 0.01)
        low, high = low - pad, high + pad
    step = _nice_step((high - low) / max(1, ticks - 1))
    low, high = floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step
    low = low if lowest is None else max(low, lowest)
    high = high if highest is None else min(high, highest)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    positions = tuple(round(index * step, 10) + 0.0 for index in range(first, last + 1))
    return Axis(low=low, high=high, ticks=positions, places=_places(step))


def _places(step: float) -> int:
    """Return the decimals that tell multiples of a step apart: 2.5 and 0.25 need one more than 2 and 0.2."""
    return next((places for places in range(9) if abs(round(step, places) - step) < 1e-9 * step), 9)


def _nice_step(raw: float) -> float:
    magnitude = 10.0 ** floor(log10(raw))
    return next((factor * magnitude for factor in (1, 2, 2.5, 5) if raw <= factor * magnitude * 1.0001), 10 * magnitude)
