"""The static judgement of an ONNX model: a plain graph of listed operators over its own finite numbers, or refused.

No domain but the default one (custom operators are shared libraries), no functions, no subgraphs (loops need not end),
no external data (a path that is opened beside the model), no training part. Operators come from an exact list of
deterministic ones. Nothing is built, and no library of ONNX is needed. Field numbers: ``onnx.proto`` of ONNX 1.2x.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.bundles.protobuf import malformed, number, numbers, only, text, view
from pipelines.bundles.registry import MAX_PARAMETERS
from pipelines.errors import PipelineError

OPSETS = range(9, 25)
MAX_NODES = 20_000
MAX_BYTES = 2_000_000_000
_FLOAT, _FLOAT16, _DOUBLE = 1, 10, 11
ELEMENT_BYTES = {_FLOAT: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, _FLOAT16: 2, _DOUBLE: 8}
"""Data types a tensor may have: floats, 8, 32 and 64 bit integers and booleans; never strings."""

_TYPED_DATA = {4: 4, 5: 4, 7: 8, 10: 8}

OPERATORS = frozenset(
    [
        "Abs",
        "Add",
        "And",
        "ArgMax",
        "ArgMin",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "ConvTranspose",
        "CumSum",
        "DepthToSpace",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "EyeLike",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Greater",
        "GreaterOrEqual",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "IsNaN",
        "LRN",
        "LayerNormalization",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "MatMul",
        "Max",
        "MaxPool",
        "Mean",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "OneHot",
        "Or",
        "PRelu",
        "Pad",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Resize",
        "Round",
        "Selu",
        "Shape",
        "Sigmoid",
        "Sign",
        "Sin",
        "Cos",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "Softsign",
        "SpaceToDepth",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "ThresholdedRelu",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Upsample",
        "Where",
        "Xor",
    ]
)
"""Operators of the default domain that may occur: deterministic, without state, files, strings, sequences or graphs."""


@dataclass
class Graph:
    """What was found in a model."""

    opset: int = 0
    nodes: int = 0
    tensors: int = 0
    parameters: int = 0
    inputs: dict[str, tuple[int, tuple[int | None, ...]]] = field(default_factory=dict)
    """Element type and shape by name; None where an axis has any length."""

    outputs: dict[str, tuple[int, tuple[int | None, ...]]] = field(default_factory=dict)
    initialised: set[str] = field(default_factory=set)


def inspect_onnx(path: Path, offset: int, size: int) -> Graph:
    """Judge the model that lies at ``offset`` in a file; raises the codes of a static check."""
    if size > MAX_BYTES:
        raise PipelineError("bundle-too-large", "models/model.onnx is larger than two gigabytes")
    data = np.memmap(path, np.uint8, mode="r", offset=offset, shape=(size,)).data if size else memoryview(b"")
    graph = Graph()
    for key, value in only(data, frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25})):
        if key == 7:
            _graph(view(value), graph)
        elif key == 8:
            _opset(view(value), graph)
        elif key in (20, 25):
            raise PipelineError("bundle-has-code", "models/model.onnx has functions or a training part")
    if graph.opset not in OPSETS or not graph.nodes:
        raise malformed(f"it has no graph of an operator set from {OPSETS.start} to {OPSETS.stop - 1}")
    return graph


def refuse_shapes(graph: Graph, channels: int, shape: tuple[int, ...] | None, labels: int, *, spatial: bool) -> None:
    """Raise ``model-incompatible`` where input and output are not one image in, and one value or map a label out.

    ``shape`` is None where the bundle's own preprocessing changes the image's size.
    """
    given = {name: kind for name, kind in graph.inputs.items() if name not in graph.initialised}
    if len(given) != 1 or len(graph.outputs) != 1:
        raise PipelineError("model-incompatible", "it must have one input and one output")
    size = shape if shape is not None else (None,) * (len(next(iter(given.values()))[1]) - 2)
    _refuse_shape(next(iter(given.values())), (1, channels, *size), "input")
    _refuse_shape(next(iter(graph.outputs.values())), (1, labels, *(size if spatial else ())), "output")


def _refuse_shape(found: tuple[int, tuple[int | None, ...]], wanted: tuple[int | None, ...], what: str) -> None:
    kind, shape = found
    fits = len(shape) == len(wanted) and all(
        have is None or want is None or have == want for have, want in zip(shape, wanted, strict=True)
    )
    if kind != _FLOAT or not fits:
        raise PipelineError("model-incompatible", f"its {what} is not float32 of the benchmark's shape")


def _opset(data: memoryview, graph: Graph) -> None:
    domain, version = "", 0
    for key, value in only(data, frozenset({1, 2})):
        domain, version = (text(value), version) if key == 1 else (domain, number(value))
    _refuse_domain(domain)
    graph.opset = version


def _graph(data: memoryview, graph: Graph) -> None:
    for key, value in only(data, frozenset({1, 2, 5, 10, 11, 12, 13, 15, 16})):
        if key == 1:
            _node(view(value), graph)
        elif key == 5:
            graph.initialised.add(_tensor(view(value), graph))
        elif key in (11, 12):
            name, kind = _value_info(view(value))
            (graph.inputs if key == 11 else graph.outputs)[name] = kind
        elif key == 15:
            raise malformed("it has sparse tensors")


def _node(data: memoryview, graph: Graph) -> None:
    graph.nodes += 1
    if graph.nodes > MAX_NODES:
        raise PipelineError("network-too-large", f"it has more than {MAX_NODES} nodes")
    operator = ""
    for key, value in only(data, frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9})):
        if key == 4:
            operator = text(value)
        elif key == 5:
            _attribute(view(value), graph)
        elif key == 7:
            _refuse_domain(text(value))
    if operator not in OPERATORS:
        raise PipelineError("network-unknown", "it has an operator that is not on the list")


def _attribute(data: memoryview, graph: Graph) -> None:
    for key, value in only(data, frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 20, 21, 22, 23})):
        if key in (6, 11):
            raise PipelineError("bundle-has-code", "it has a graph inside a node: a loop or a branch")
        if key in (5, 10):
            _tensor(view(value), graph)
        elif key in (9, 14, 15, 21, 22, 23):
            raise malformed("a node has an attribute of a kind that is not used")


def _tensor(data: memoryview, graph: Graph) -> str:
    """Check that a tensor is just its own finite numbers and return its name."""
    name, dims, kind, raw, typed = "", [], 0, None, 0
    for key, value in only(data, frozenset({1, 2, 4, 5, 7, 8, 9, 10, 12, 13, 14, 16})):
        if key == 1:
            dims += numbers(value)
        elif key == 2:
            kind = number(value)
        elif key == 8:
            name = text(value)
        elif key == 9:
            raw = view(value)
        elif key in _TYPED_DATA:
            typed += 1 if isinstance(value, int) else max(1, len(value) // _TYPED_DATA[key])
        elif key == 13 or (key == 14 and value != 0):
            raise PipelineError("bundle-has-code", "a tensor lies in another file")
    if kind not in ELEMENT_BYTES or any(not 0 <= length < 2**40 for length in dims) or len(dims) > 8:
        raise PipelineError("weights-invalid", "a tensor has an unknown type or shape")
    graph.tensors += 1
    graph.parameters += _counted(math.prod(dims), kind, raw, typed)
    if graph.parameters > MAX_PARAMETERS:
        raise PipelineError("network-too-large", f"it has more than {MAX_PARAMETERS:,} numbers")
    return name


def _counted(count: int, kind: int, raw: memoryview | None, typed: int) -> int:
    if raw is None:
        # Integers in this form take one to ten bytes each, so only too few can be told.
        if count > 4096 or (count and not typed):
            raise PipelineError("weights-invalid", "a tensor claims more numbers than it has")
        return count
    if len(raw) != count * ELEMENT_BYTES[kind]:
        raise PipelineError("weights-invalid", "a tensor's shape and bytes disagree")
    if kind in (_FLOAT, _FLOAT16, _DOUBLE):
        _refuse_not_finite(np.frombuffer(raw, {_FLOAT: "<f4", _FLOAT16: "<f2", _DOUBLE: "<f8"}[kind]))
    return count


def _refuse_not_finite(values: np.ndarray[Any, np.dtype[Any]]) -> None:
    for begin in range(0, values.size, 1 << 20):
        if not np.isfinite(values[begin : begin + (1 << 20)]).all():
            raise PipelineError("weights-invalid", "a tensor holds a NaN or an infinity")


def _value_info(data: memoryview) -> tuple[str, tuple[int, tuple[int | None, ...]]]:
    name, kind = "", 0
    shape: tuple[int | None, ...] = ()
    for key, value in only(data, frozenset({1, 2, 3, 4})):
        if key == 1:
            name = text(value)
        elif key == 2:
            kind, shape = _type(view(value))
    return name, (kind, shape)


def _type(data: memoryview) -> tuple[int, tuple[int | None, ...]]:
    kind = 0
    shape: tuple[int | None, ...] = ()
    for key, value in only(data, frozenset({1, 6})):
        if key != 1:
            continue
        for inner, entry in only(view(value), frozenset({1, 2})):
            kind, shape = (number(entry), shape) if inner == 1 else (kind, _shape(view(entry)))
    return kind, shape


def _shape(data: memoryview) -> tuple[int | None, ...]:
    found: list[int | None] = []
    for _, value in only(data, frozenset({1})):
        lengths = [number(entry) for key, entry in only(view(value), frozenset({1, 2, 3})) if key == 1]
        found.append(lengths[0] if lengths else None)
    return tuple(found)


def _refuse_domain(domain: str) -> None:
    if domain not in ("", "ai.onnx"):
        raise PipelineError("bundle-has-code", "it uses operators of another domain, which are shared libraries")
