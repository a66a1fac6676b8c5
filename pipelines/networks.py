"""Building a registered network and loading its weights, exactly or not at all.

The network is first built on torch's meta device, which allocates nothing: its tensors' names, shapes and dtypes must
be those of the weights file before any memory is taken. Integer buffers stay as the class makes them.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.nets.attentionunet import AttentionUnet
from monai.networks.nets.basic_unet import BasicUNet
from monai.networks.nets.classifier import Classifier
from monai.networks.nets.densenet import DenseNet
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.resnet import ResNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.unet import UNet
from torch import nn

from pipelines.bundles.architecture import NetworkArguments
from pipelines.bundles.bundle import Bundle
from pipelines.bundles.registry import MAX_PARAMETERS
from pipelines.bundles.weights import WeightsIndex, read_tensors, read_weights_index
from pipelines.errors import PipelineError

Arrays = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def _exchanging_norm(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Wrap a class that hard-codes batch normalisation so that ``norm`` is honoured everywhere in it."""

    def build_exchanged(norm: str | tuple[str, dict[str, Any]], **arguments: Any) -> nn.Module:
        network = build(**arguments)
        if not isinstance(norm, str):
            _exchange_batch_norm(network, **norm[1])
        return network

    return build_exchanged


def _exchange_batch_norm(module: nn.Module, num_groups: int, affine: bool) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(
                module, name, nn.GroupNorm(_divisor(child.num_features, num_groups), child.num_features, affine=affine)
            )
        else:
            _exchange_batch_norm(child, num_groups, affine)


def _divisor(channels: int, wanted: int) -> int:
    return math.gcd(channels, wanted)


def _resnet(**arguments: Any) -> nn.Module:
    return ResNet(shortcut_type="B", norm="batch", **arguments)


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "AttentionUnet": _exchanging_norm(AttentionUnet),
    "BasicUNet": BasicUNet,
    "Classifier": Classifier,
    "DenseNet": DenseNet,
    "DynUNet": DynUNet,
    "ResNet": _exchanging_norm(_resnet),
    "SegResNet": SegResNet,
    "UNet": UNet,
}


def build_network(arguments: NetworkArguments) -> nn.Module:
    """Build a network with torch's own random initialisation, in memory.

    Raises ``network-argument-invalid`` where MONAI refuses the combination of arguments (groups that do not divide the
    channels, say) and ``network-too-large``.
    """
    with torch.device("meta"):
        planned = _build(arguments)
    if sum(tensor.numel() for tensor in planned.state_dict().values()) > MAX_PARAMETERS:
        raise PipelineError("network-too-large", f"{arguments.network} has more than {MAX_PARAMETERS:,} parameters")
    return _build(arguments)


def load_network(bundle: Bundle) -> nn.Module:
    """Build a bundle's network and load its weights; raises ``weights-mismatch`` naming the first odd tensor.

    An ONNX model is loaded by its own engine, which is imported for it alone.
    """
    if bundle.profile.tier == 3:
        raise PipelineError("model-incompatible", "a container is run by its engine and never loaded here")
    if bundle.profile.tier == 2:
        from pipelines.onnx_network import OnnxNetwork

        return OnnxNetwork(bundle.path, bundle.weights_offset, bundle.weights_size).eval()
    arguments = bundle.profile.network_arguments()
    with torch.device("meta"):
        planned = _build(arguments)
    refuse_mismatch(float_tensors(planned), bundle.index)
    network = build_network(arguments)
    load_arrays(network, read_tensors(bundle.path, bundle.index))
    return network.eval()


def float_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that travel: parameters and floating-point buffers, live and by name.

    A tensor that a class lists twice (``DynUNet`` does) travels once, under its first name.
    """
    found: dict[int, str] = {}
    tensors: dict[str, torch.Tensor] = network.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            found.setdefault(id(tensor), name)
    return {name: tensors[name].detach() for name in found.values()}


def refuse_mismatch(expected: dict[str, torch.Tensor], index: WeightsIndex) -> None:
    """Raise ``weights-mismatch`` unless a file has exactly these tensors: names, shapes and float32."""
    found = {tensor.name: tensor for tensor in index.tensors}
    for name in sorted(set(expected) ^ set(found)):
        raise PipelineError("weights-mismatch", f"tensor {name} is {'missing' if name in expected else 'too many'}")
    for name, tensor in found.items():
        if tensor.dtype != "F32" or expected[name].dtype != torch.float32:
            raise PipelineError("weights-mismatch", f"tensor {name} is {tensor.dtype}, not F32")
        if tensor.shape != tuple(expected[name].shape):
            raise PipelineError("weights-mismatch", f"tensor {name} has another shape")


def read_weights(path: Path, network: nn.Module) -> Arrays:
    """Read a weights file that must fit a network exactly and be finite.

    Raises ``weights-invalid`` or ``weights-mismatch``.
    """
    index = read_weights_index(path)
    refuse_mismatch(float_tensors(network), index)
    arrays = read_tensors(path, index)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise PipelineError("weights-invalid", f"tensor {name} holds a NaN or an infinity")
    return arrays


def load_arrays(network: nn.Module, arrays: Arrays) -> None:
    """Copy arrays into a network whose tensors they fit; integer buffers are left alone."""
    with torch.no_grad():
        for name, tensor in float_tensors(network).items():
            tensor.copy_(torch.from_numpy(arrays[name]))


def to_arrays(network: nn.Module) -> Arrays:
    """Return copies of the tensors that travel, on the CPU: a later step of training cannot change them."""
    return {name: tensor.cpu().clone().contiguous().numpy() for name, tensor in float_tensors(network).items()}


def _build(arguments: NetworkArguments) -> nn.Module:
    try:
        return BUILDERS[arguments.network](**arguments.arguments())
    except (ValueError, TypeError, RuntimeError, IndexError, KeyError, ZeroDivisionError):
        raise PipelineError(
            "network-argument-invalid", f"MONAI refuses these arguments of {arguments.network}"
        ) from None
