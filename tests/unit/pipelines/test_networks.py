"""The registry of networks: bounds that hold, arguments that are checked, weights that fit exactly or are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.authoring import initial_weights, new_profile
from pipelines.bundles import NETWORKS, network_arguments, network_schema, read_bundle
from pipelines.bundles.normalisation import trains_normalisation
from pipelines.check import check_bundle
from pipelines.errors import PipelineError
from pipelines.job import CheckJob
from pipelines.memory import norm_names
from pipelines.networks import BUILDERS, build_network, float_tensors, load_network, read_weights, to_arrays
from tests.unit.pipelines.examples import definition, question, tiny_bundle, tiny_profile

GROUPS = ["group", {"num_groups": 2}]
SHAPES_3D = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3}
EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("AttentionUnet", {**SHAPES_3D, "channels": [4, 8, 16], "strides": [2, 2], "norm": GROUPS}),
    ("AttentionUnet", {**SHAPES_3D, "spatial_dims": 2, "channels": [8, 16], "strides": [2], "norm": "batch"}),
    ("BasicUNet", {**SHAPES_3D, "features": [4, 4, 8, 8, 16, 4]}),
    ("BasicUNet", {**SHAPES_3D, "features": [4, 4, 8, 8, 16, 32], "upsample": "nontrainable", "norm": GROUPS}),
    ("Classifier", {"in_shape": [1, 28, 28], "classes": 2, "channels": [8, 16], "strides": [1, 2]}),
    ("Classifier", {"in_shape": [2, 9, 9, 9], "classes": 5, "channels": [8], "strides": [3], "num_res_units": 3}),
    ("Classifier", {"in_shape": [1, 28, 28], "classes": 2, "channels": [4, 4], "strides": [1, 4], "num_res_units": 0}),
    (
        "DenseNet",
        {**SHAPES_3D, "spatial_dims": 2, "init_features": 8, "growth_rate": 4, "block_config": [2, 2], "norm": GROUPS},
    ),
    ("DynUNet", {**SHAPES_3D, "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "filters": [4, 8, 16]}),
    (
        "DynUNet",
        {
            **SHAPES_3D,
            "kernel_size": [3, 5, 3, 3],
            "strides": [1, 2, 2, 2],
            "filters": [4, 8, 16, 32],
            "res_block": True,
            "trans_bias": True,
        },
    ),
    (
        "ResNet",
        {"spatial_dims": 2, "n_input_channels": 1, "num_classes": 2, "block_inplanes": [4, 8, 16, 32], "norm": GROUPS},
    ),
    (
        "ResNet",
        {
            "spatial_dims": 3,
            "n_input_channels": 1,
            "num_classes": 3,
            "block": "bottleneck",
            "layers": [1, 2, 1, 1],
            "block_inplanes": [4, 8, 8, 16],
            "norm": "batch",
        },
    ),
    ("SegResNet", {**SHAPES_3D, "init_filters": 8}),
    (
        "SegResNet",
        {**SHAPES_3D, "spatial_dims": 2, "blocks_down": [1, 1], "blocks_up": [1], "upsample_mode": "deconv"},
    ),
    ("UNet", {**SHAPES_3D, "channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 2}),
    ("UNet", {**SHAPES_3D, "spatial_dims": 2, "channels": [4, 8], "strides": [2], "norm": "batch", "bias": False}),
]


def test_every_registered_network_can_be_built_and_nothing_else() -> None:
    """The list without torch and the dictionary of builders name the same classes."""
    assert set(NETWORKS) == set(BUILDERS)
    assert {name for name, _ in EXAMPLES} == set(NETWORKS)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_networks_arguments_have_a_json_schema(name: str) -> None:
    """Documentation and completion are made from it."""
    schema = network_schema(name)
    assert schema["additionalProperties"] is False
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(("name", "args"), EXAMPLES)
def test_the_bound_holds_and_is_not_far_off(name: str, args: dict[str, Any]) -> None:
    """Never below the real number of tensor elements, and within a factor that keeps it meaningful."""
    arguments = network_arguments(name, args)
    size = sum(tensor.numel() for tensor in float_tensors(build_network(arguments)).values())
    assert size <= arguments.parameter_bound() <= 8 * size


@pytest.mark.parametrize(("name", "args"), EXAMPLES)
def test_whether_normalisation_has_weights_is_told_without_building(name: str, args: dict[str, Any]) -> None:
    """For each kind of normalisation a class takes; FedBN has nothing to keep where it has none."""
    key = "norm_name" if name == "DynUNet" else "norm"
    kinds = ("batch", "instance", *(["instance", {"affine": affine}] for affine in (True, False)))
    groups = (["group", {"num_groups": 1, "affine": affine}] for affine in (True, False))
    tried = 0
    for kind in (*kinds, *groups):
        try:
            arguments = network_arguments(name, {**args, key: kind})
        except PipelineError:
            continue  # a kind this class does not take
        network = build_network(arguments)
        told = trains_normalisation(name, {**args, key: kind})
        assert told == bool(norm_names(network, to_arrays(network))), kind
        tried += 1
    assert tried >= 3


@pytest.mark.parametrize(("name", "args"), EXAMPLES)
def test_a_network_predicts_what_its_arguments_say(name: str, args: dict[str, Any]) -> None:
    """One logit a class, or one map a label on the input's grid."""
    arguments = network_arguments(name, args)
    size = arguments.fixed_shape or (32,) * arguments.dimensions
    with torch.inference_mode():
        output = build_network(arguments).eval()(torch.zeros(1, arguments.input_channels, *size))
    tail = size if arguments.task == "segmentation" else ()
    assert tuple(output.shape) == (1, arguments.outputs, *tail)


@pytest.mark.parametrize(("name", "args"), [entry for entry in EXAMPLES if entry[1].get("norm") != "batch"])
def test_no_batch_normalisation_unless_asked_for(name: str, args: dict[str, Any]) -> None:
    """Also where MONAI hard-codes it: an integer step counter must never be averaged over hospitals."""
    network = build_network(network_arguments(name, args))
    assert not any("BatchNorm" in type(module).__name__ for module in network.modules())
    assert all(tensor.is_floating_point() for tensor in network.state_dict().values())


def test_integer_buffers_stay_where_they_are() -> None:
    """With batch normalisation, the running statistics travel and the counters do not."""
    arguments = network_arguments("UNet", EXAMPLES[-1][1])
    names = set(to_arrays(build_network(arguments)))
    assert any(name.endswith("running_mean") for name in names)
    assert not any(name.endswith("num_batches_tracked") for name in names)


def test_a_tensor_a_class_lists_twice_travels_once() -> None:
    """DynUNet holds each block under two names."""
    network = build_network(network_arguments("DynUNet", EXAMPLES[8][1]))
    assert sum(array.size for array in to_arrays(network).values()) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("UNet", {**SHAPES_3D, "channels": [4, 8], "strides": [2], "norm": ["group", {"num_groups": 3}]}),
        ("SegResNet", {**SHAPES_3D, "init_filters": 3}),
    ],
)
def test_arguments_that_monai_refuses_have_the_arguments_code(name: str, args: dict[str, Any]) -> None:
    """Groups that do not divide the channels, say: found on the meta device, before memory is taken."""
    with pytest.raises(PipelineError, match="network-argument-invalid"):
        build_network(network_arguments(name, args))


def test_a_network_loads_the_bundles_numbers(tmp_path: Path) -> None:
    """Every tensor, exactly."""
    weights = initial_weights(tiny_profile(), 3)
    network = load_network(read_bundle(tiny_bundle(tmp_path / "b.zip", weights=weights)))
    assert {name: array.tolist() for name, array in to_arrays(network).items()} == {
        name: array.tolist() for name, array in weights.items()
    }


def test_initial_weights_are_the_seeds() -> None:
    """And leave the process's own random stream alone."""
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    first, again, other = (initial_weights(tiny_profile(), seed) for seed in (7, 7, 8))
    assert torch.equal(torch.rand(1), before)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("change", ["missing", "extra", "renamed", "shape"])
def test_weights_that_do_not_fit_exactly_are_refused(tmp_path: Path, change: str) -> None:
    """MONAI's own algorithm trains on with 1 of 77 tensors."""
    weights = initial_weights(tiny_profile(), 0)
    name = "net.layer_0.conv.bias"
    array = weights.pop(name)
    if change == "shape":
        weights[name] = np.append(array, np.float32(0))
    elif change == "renamed":
        weights["net.layer_0.conv.bios"] = array
    elif change == "extra":
        weights |= {name: array, "more": array}
    with pytest.raises(PipelineError, match="weights-mismatch"):
        load_network(read_bundle(tiny_bundle(tmp_path / "b.zip", weights=weights)))


def test_a_global_model_with_a_nan_is_refused(tmp_path: Path) -> None:
    """Before it is loaded into anything."""
    from safetensors.numpy import save_file

    network = build_network(network_arguments("Classifier", tiny_profile()["network"]["args"]))
    weights = to_arrays(network)
    weights["final.1.bias"][0] = np.nan
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(PipelineError, match="weights-invalid"):
        read_weights(tmp_path / "w.safetensors", network)


def test_a_check_builds_and_runs_a_bundle_once(tmp_path: Path) -> None:
    """What a check node does before a model goes anywhere near a hospital."""
    bundle = tiny_bundle(tmp_path / "b.zip", "segmentation")
    check_bundle(CheckJob(bundle=bundle, definition=definition("segmentation"), out=tmp_path))
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["network"] == "UNet"
    assert found["parameters"] == read_bundle(bundle).index.parameters


def test_a_network_that_cannot_take_the_input_is_incompatible(tmp_path: Path) -> None:
    """Five halvings of eight voxels: only a run can tell."""
    from pipelines.authoring import make_bundle

    args = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [2] * 6, "strides": [2] * 5}
    profile = new_profile(question("segmentation"), "UNet", args)
    bundle = tmp_path / "b.zip"
    make_bundle(bundle, profile, initial_weights(profile, 0), title="T", description="d", authors="a")
    with pytest.raises(PipelineError, match="model-incompatible"):
        check_bundle(CheckJob(bundle=bundle, out=tmp_path))
