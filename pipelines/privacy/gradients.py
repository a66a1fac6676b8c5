"""Gradients of single images, by Opacus's hooks, for the length of a block."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from opacus.grad_sample import GradSampleHooks
from torch import nn


@contextmanager
def image_gradients(network: nn.Module) -> Iterator[None]:
    """Let every backward pass leave each image's own gradient of a summed loss in ``p.grad_sample``.

    The network is in training mode meanwhile, and a plain one in evaluation mode afterwards.
    """
    network.train()
    hooks = GradSampleHooks(network, loss_reduction="sum")
    try:
        with warnings.catch_warnings():
            # The first layer's input is an image, of which nobody wants a gradient.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            yield
    finally:
        hooks.remove_hooks()
        network.eval()
