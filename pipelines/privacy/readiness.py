"""Whether a network can be trained privately: it says so by making one real private step.

A static look is not enough: SegResNet and DynUNet pass Opacus's validator and fail in the backward pass.
"""

import copy
from dataclasses import dataclass

import torch
from opacus.validators import ModuleValidator
from torch import nn

from pipelines.privacy.clipping import Clipping
from pipelines.privacy.gradients import image_gradients
from pipelines.privacy.optimiser import PatientOptimizer
from pipelines.privacy.randomness import SecretRandomness

NORMALISATION = "a layer normalises over the batch, so one patient changes what another's gradient is"
BUFFERS = "a step of training changes a buffer, which would leave without noise"
ABSENT = "a parameter gets no gradient of its own for each image"


@dataclass(frozen=True)
class Readiness:
    """Yes, or no with a sentence."""

    ready: bool
    reason: str = ""


def without_inplace(network: nn.Module) -> nn.Module:
    """Let no layer overwrite its input, which the per-image gradients still need; the results are the same."""
    for module in network.modules():
        if isinstance(getattr(module, "inplace", None), bool):
            module.inplace = False  # type: ignore[assignment]  # a flag of the activation and dropout layers
    return network


def dp_ready(network: nn.Module, shape: tuple[int, ...]) -> Readiness:
    """Make one private step on two made-up images of ``shape`` (C, *sizes), on a copy, and say whether it held."""
    trial = without_inplace(copy.deepcopy(network)).train()
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in trial.modules()):
        return Readiness(False, NORMALISATION)
    if ModuleValidator.validate(trial, strict=False):
        return Readiness(False, "Opacus knows a layer that mixes the images of a batch")
    before = {name: buffer.clone() for name, buffer in trial.named_buffers() if buffer.is_floating_point()}
    try:
        return _one_step(trial, shape, before)
    except Exception as error:
        # Whatever autograd, functorch or Opacus make of a network they cannot take, the answer is no.
        return Readiness(False, f"a private step fails ({type(error).__name__})")


def _one_step(trial: nn.Module, shape: tuple[int, ...], before: dict[str, torch.Tensor]) -> Readiness:
    with image_gradients(trial):
        parameters = [parameter for parameter in trial.parameters() if parameter.requires_grad]
        optimiser = PatientOptimizer(
            torch.optim.SGD(parameters, lr=0.1),
            noise=1.0,
            clipping=Clipping(1.0),
            expected=2,
            randomness=SecretRandomness(),
        )
        trial(torch.randn((2, *shape)).to(parameters[0].device)).square().mean().backward()
        if any(getattr(parameter, "grad_sample", None) is None for parameter in parameters):
            return Readiness(False, ABSENT)
        optimiser.gather([0, 1], 2)
        optimiser.step()
    changed = any(not torch.equal(buffer, before[name]) for name, buffer in trial.named_buffers() if name in before)
    return Readiness(False, BUFFERS) if changed else Readiness(True)
