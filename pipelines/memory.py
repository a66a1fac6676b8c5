"""What a site keeps of its own between a study's rounds: models and control variates that never leave it.

Files are named by the round that made them and written at once, so a round that is done again after a kill finds what
it began from and writes the same again. The hub says which round's update stands in the global model; what the site
keeps goes on from there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from pipelines.networks import Arrays, read_weights

KEPT_ROUNDS = 8
"""Rounds whose files stay; more than the hub keeps models, for it may roll back to any of those."""

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)


class SiteMemory:
    """Arrays by round and name in one folder. Without a folder nothing is kept."""

    def __init__(self, folder: Path | None, network: nn.Module) -> None:
        self._folder, self._network = folder, network

    def read(self, number: int, name: str) -> Arrays | None:
        """Return what round ``number`` kept under a name, or None where it kept nothing."""
        if self._folder is None or not (path := self._path(number, name)).is_file():
            return None
        return read_weights(path, self._network)

    def write(self, number: int, kept: dict[str, Arrays], needed: frozenset[int] = frozenset()) -> None:
        """Keep arrays as round ``number``'s, and forget those of long ago, but for the rounds still ``needed``."""
        if self._folder is None or not kept:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, arrays in kept.items():
            partial = self._path(number, name).with_suffix(".partial")
            save_file(arrays, partial)
            partial.replace(self._path(number, name))
        rounds = {int(path.name[1:6]) for path in self._folder.glob("r*.safetensors")}
        for old in set(sorted(rounds)[:-KEPT_ROUNDS]) - needed:
            for path in self._folder.glob(f"r{old:05}.*"):
                path.unlink(missing_ok=True)

    def _path(self, number: int, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"r{number:05}.{name}.safetensors"


def norm_names(network: nn.Module, arrays: Arrays) -> frozenset[str]:
    """Return the names of the tensors that belong to normalisation layers."""
    prefixes = [f"{name}." for name, module in network.named_modules() if isinstance(module, _NORMS)]
    return frozenset(name for name in arrays if any(name.startswith(prefix) for prefix in prefixes))


def mixed(shared: Arrays, own: Arrays | None, names: frozenset[str]) -> Arrays:
    """Return the shared model with these tensors of the site's own."""
    return shared if own is None else {name: own[name] if name in names else shared[name] for name in shared}


def next_control(own: Arrays | None, common: Arrays | None, update: Arrays, step: float) -> Arrays:
    """Return the site's next control variate (SCAFFOLD, option II): ``c_i - c - update / (K * learning rate)``.

    ``step`` is ``K * learning rate``; a control variate that is not there yet is nought.
    """
    divisor = np.float32(step)
    return {
        name: _or_nought(own, name) - _or_nought(common, name) - change / divisor for name, change in update.items()
    }


def _or_nought(arrays: Arrays | None, name: str) -> Any:
    return np.float32(0) if arrays is None else arrays[name]


def correction(own: Arrays | None, common: Arrays | None, network: nn.Module) -> list[tuple[nn.Parameter, Any]]:
    """Return what is added to each parameter's gradient in every step: ``c - c_i``."""
    if common is None and own is None:
        return []
    names = dict(network.named_parameters())
    return [
        (names[name], torch.from_numpy(_or_nought(common, name) - _or_nought(own, name)).to(names[name].device))
        for name in (common or own or {})
        if name in names
    ]
