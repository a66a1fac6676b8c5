"""A block as it may travel with a board: without the models the board does not list.

A block speaks of all models of one run, private ones and those under an embargo too. Their estimates are their owner's,
so they are cut out of every vector over models before anybody else is given what a board was computed from. The
statistics read only listed models, so what is left gives the same board, byte for byte.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

_VECTORS = frozenset({"models", "failed", "theta", "histograms", "calibration", "volume"})
"""Keys of lists with one element a model, wherever they stand in a block."""


def only_models(block: Mapping[str, Any], listed: Collection[str]) -> dict[str, Any]:
    """Return a block's JSON object with just the ``listed`` models, in their order."""
    models: Sequence[str] = block["models"]
    places = [place for place, model in enumerate(models) if model in listed]
    return {key: _cut(key, value, places, len(models)) for key, value in block.items()}


def _cut(key: str, value: Any, places: Sequence[int], size: int) -> Any:
    if isinstance(value, Mapping):
        return {inner: _cut(inner, one, places, size) for inner, one in value.items()}
    if not isinstance(value, list | tuple):
        return value
    if key == "cov" and len(value) == size:
        return [[value[row][column] for column in places] for row in places]
    if key in _VECTORS and len(value) == size:
        return [value[place] for place in places]
    return [_cut("", one, places, size) for one in value]
