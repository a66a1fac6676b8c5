"""Where a network computes: on the CPU, or on the graphics card the node has granted this jail.

Only a job in the sandbox asks; whoever builds a trainer otherwise gets the CPU, so that simulations stay the same to
the bit. What leaves a network, as weights or as a prediction, is brought back to the CPU first.
"""

import os

import torch
from torch import nn

GPU_SHARE = "MEDSILO_GPU_SHARE"
"""Set by the node where its policy grants a share of a graphics card's memory."""

CPU = torch.device("cpu")


def chosen_device(share: float, *, available: bool) -> torch.device:
    """Return the first card where a share of it is granted and the jail has one, else the CPU."""
    return torch.device("cuda", 0) if share > 0 and available else CPU


def granted_share() -> float:
    """Return which share of the card's memory the node has granted; 0 for none."""
    return float(os.environ.get(GPU_SHARE, "0"))


def granted_device() -> torch.device:
    """Return where this process may compute. Without a grant the card is not even looked for."""
    share = granted_share()
    return chosen_device(share, available=share > 0 and torch.cuda.is_available())


def device_of(network: nn.Module) -> torch.device:
    """Return where a network lies; one without tensors, as another engine's, takes and gives the CPU's."""
    found = next(network.parameters(), None)
    return CPU if found is None else found.device
