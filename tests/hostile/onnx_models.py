"""ONNX models, honest and hostile, made with ONNX's own helpers and packed as bundles of tier 2."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipelines.authoring import write_bundle_folder
from pipelines.bundles.archive import CARD, METADATA, ONNX, PROFILE, write_archive
from tests.unit.pipelines.examples import tiny_profile

Change = Callable[[onnx.ModelProto], object]


def classifier(**shapes: list[int | str]) -> onnx.ModelProto:
    """Return an honest model: two logits from an image of 8 x 8."""
    random = np.random.default_rng(3)
    weight = numpy_helper.from_array(random.normal(size=(64, 2)).astype(np.float32), "weight")
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shapes.get("image", ["batch", 1, 8, 8]))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shapes.get("logits", ["batch", 2]))],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def packed(folder: Path, model: bytes, **profile: object) -> Path:
    """Pack a model as a bundle of tier 2."""
    source, honest = folder / "source", tiny_profile()
    write_bundle_folder(source, honest, {"w": np.zeros(1, np.float32)}, title="T", description="d", authors="a")
    described = {name: value for name, value in honest.items() if name != "network"} | {"format": "onnx-bundle/1"}
    out = folder / "model.zip"
    members: dict[str, Path | bytes] = {name: source / name for name in (METADATA, CARD)}
    write_archive(out, members | {PROFILE: json.dumps(described | profile).encode(), ONNX: model})
    return out


def changed(change: Change) -> Callable[[Path], Path]:
    """Return a maker of a bundle whose model was changed."""

    def make(folder: Path) -> Path:
        model = classifier()
        change(model)
        return packed(folder, model.SerializeToString())

    return make


def external(model: onnx.ModelProto) -> None:
    """Keep the weights at a path that leads out of the folder."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def node(operator: str, domain: str = "", **attributes: Any) -> Change:
    """Return a change that adds a node."""
    return lambda model: model.graph.node.append(
        helper.make_node(operator, ["logits"], ["more"], domain=domain, **attributes)
    )


def looped(model: onnx.ModelProto) -> None:
    """Add a loop, which need not end."""
    body = helper.make_graph([], "body", [], [])
    node("Loop", body=body)(model)


def own_function(model: onnx.ModelProto) -> None:
    inner = [helper.make_node("Identity", ["x"], ["y"])]
    model.functions.append(helper.make_function("ai.onnx", "F", ["x"], ["y"], inner, [helper.make_opsetid("", 17)]))


def lying(model: onnx.ModelProto) -> None:
    """Claim a petabyte."""
    model.graph.initializer[0].ClearField("dims")
    model.graph.initializer[0].dims.extend([2**25, 2**25])


def no_data(model: onnx.ModelProto) -> None:
    """Claim a terabyte without a byte."""
    model.graph.initializer[0].ClearField("raw_data")
    lying(model)


def poisoned(model: onnx.ModelProto) -> None:
    weight = np.full((64, 2), np.nan, np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))


def opset(version: int, domain: str = "") -> Change:
    return lambda model: model.opset_import.append(helper.make_opsetid(domain, version))


def nested_messages(folder: Path) -> Path:
    """A message in a message in a message, ten thousand deep, where a graph belongs."""
    data = b""
    for _ in range(10_000):
        size, length = len(data), b""
        while size > 0x7F:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        data = b"\x3a" + length + bytes([size]) + data
    return packed(folder, data)
