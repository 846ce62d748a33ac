"""Small models to compress, and ways to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import runtime_ops
from haste_export.contract import CONV, DOMAIN

Array = npt.NDArray[Any]
IR_VERSION = 8
TWO_CONVS = "[a] p = Conv <pads = [1,1,1,1]> (x, w)\nr = Relu (p)\n[b] y = Conv <pads = [1,1,1,1]> (r, v)"
"""Body of a model whose first convolution stays by default; w has 16 filters and v as many as a test likes."""


def text_model(
    body: str,
    initializers: Mapping[str, Array] | None = None,
    *,
    inputs: str = "float[1,16,9,8] x",
    outputs: str = "float[] y",
    opset: int = 17,
    functions: str = "",
) -> onnx.ModelProto:
    """A model from ONNX's text form: `body` holds the nodes."""
    model = onnx.parser.parse_model(
        f'<ir_version: {IR_VERSION}, opset_import: ["": {opset}, "test": 1]>\n'
        f"g ({inputs}) => ({outputs}) {{\n{body}\n}}\n{functions}"
    )
    for value in model.graph.output:
        if not value.type.tensor_type.shape.dim:
            value.type.tensor_type.ClearField("shape")
    for name, array in (initializers or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def filters(out_channels: int, in_channels: int, *kernel: int, seed: int = 0) -> Array:
    """Random weights, scaled so that activations keep their size."""
    rng = np.random.default_rng([seed, out_channels, in_channels, *kernel])
    fan_in = in_channels * int(np.prod(kernel))
    values: Array = rng.standard_normal((out_channels, in_channels, *kernel)) / np.sqrt(fan_in)
    return values.astype(np.float32)


def vector(count: int, seed: int = 0, *, low: float = -1.0, high: float = 1.0) -> Array:
    """Random numbers between `low` and `high`."""
    return np.random.default_rng([seed, count]).uniform(low, high, count).astype(np.float32)


def session(model: onnx.ModelProto, *, library: bool = False) -> onnxruntime.InferenceSession:
    """A session without, or with, the op library."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if library:
        runtime_ops.register(options)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto, feeds: Mapping[str, Array], *, library: bool = False) -> list[Array]:
    """All outputs of the model."""
    return list(session(model, library=library).run(None, dict(feeds)))


def random_feeds(model: onnx.ModelProto, seed: int = 0, dynamic: int = 1) -> dict[str, Array]:
    """Inputs for everything that must be fed; dynamic dimensions get the size `dynamic`."""
    rng = np.random.default_rng(seed)
    constant = {tensor.name for tensor in model.graph.initializer}
    feeds: dict[str, Array] = {}
    for value in model.graph.input:
        if value.name in constant:
            continue
        tensor = value.type.tensor_type
        shape = [dim.dim_value or dynamic for dim in tensor.shape.dim]
        kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feeds[value.name] = rng.standard_normal(shape).astype(kind)
    return feeds


def relative_error(expected: Sequence[Array], actual: Sequence[Array]) -> float:
    """Largest error of an output, relative to the norm of the output."""
    worst = 0.0
    for a, b in zip(expected, actual, strict=True):
        assert a.shape == b.shape
        norm = float(np.linalg.norm(a.astype(np.float64)))
        error = float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))
        worst = max(worst, error / norm if norm else error)
    return worst


def assert_same_function(
    original: onnx.ModelProto, compressed: onnx.ModelProto, *, library: bool, dynamic: int = 1, tolerance: float = 1e-5
) -> None:
    """The compressed model passes ONNX's full check and computes, in dense mode, what the original computes."""
    onnx.checker.check_model(compressed, full_check=True)
    feeds = random_feeds(original, dynamic=dynamic)
    steered = {name: np.array(0, np.int64) for name in steering_inputs(compressed)}
    expected = run(original, feeds)
    assert relative_error(expected, run(compressed, feeds)) <= tolerance
    if library:
        assert relative_error(expected, run(compressed, {**feeds, **steered}, library=True)) <= tolerance


def steering_inputs(model: onnx.ModelProto) -> list[str]:
    """Names of the steering inputs."""
    return [value.name for value in model.graph.input if value.name in ("haste_hyperplanes", "haste_level")]


def haste_convs(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """HasteConv nodes of the main graph."""
    return [node for node in model.graph.node if node.domain == DOMAIN and node.op_type == CONV]


def op_types(model: onnx.ModelProto) -> list[str]:
    """Operators of the main graph, in order."""
    return [node.op_type for node in model.graph.node]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node as Python values; strings are decoded."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def initializer(model: onnx.ModelProto, name: str) -> Array:
    """The constant of this name."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    raise KeyError(name)


def float_input(name: str, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    """A float32 input or output."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
