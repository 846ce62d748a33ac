"""Small ONNX models made by hand, and sessions to run them in, with and without the op library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from haste_export.reference import Float32, Pads

OPSET = 17
IR_VERSION = 8
DOMAIN = "ai.haste"


def onnx_pads(pads: Pads) -> list[int]:
    """Top, left, bottom, right, which is already the order of ONNX."""
    return list(pads)


def session(model: onnx.ModelProto, library: str | None = None, threads: int = 1) -> onnxruntime.InferenceSession:
    """A quiet CPU session, with the op library registered if one is named."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    if library is not None:
        options.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=64)
def _conv_session(pads: Pads, kernel: tuple[int, int]) -> onnxruntime.InferenceSession:
    node = helper.make_node("Conv", ["X", "W", "B"], ["Y"], kernel_shape=kernel, pads=onnx_pads(pads))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("X", "W", "B")]
    output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)
    return session(model([node], inputs, [output]))


def run_conv(x: Float32, weights: Float32, bias: Float32, pads: Pads) -> Float32:
    """ONNX Runtime's own Conv; weights are inputs, so that one session serves every shape of a kernel."""
    if x.shape[0] == 0:
        out_h = x.shape[2] + pads[0] + pads[2] - weights.shape[2] + 1
        out_w = x.shape[3] + pads[1] + pads[3] - weights.shape[3] + 1
        return np.zeros((0, weights.shape[0], out_h, out_w), np.float32)
    kernel = (weights.shape[2], weights.shape[3])
    y: Float32 = _conv_session(pads, kernel).run(None, {"X": x, "W": weights, "B": bias})[0]
    return y


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: dict[str, NDArray[Any]] | None = None,
) -> onnx.ModelProto:
    """A model of the given nodes, importing the standard operators and ours."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (initializers or {}).items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), tensors)
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


HASTE_INPUTS = {
    "X": TensorProto.FLOAT,
    "W": TensorProto.FLOAT,
    "B": TensorProto.FLOAT,
    "V": TensorProto.INT8,
    "L": TensorProto.INT64,
    "Z": TensorProto.FLOAT,
    "T": TensorProto.FLOAT,
    "A": TensorProto.FLOAT,
}


def haste_model(
    constants: dict[str, NDArray[Any]],
    fed: Sequence[str] = ("X", "L"),
    stats: bool = True,
    x_type: int = TensorProto.FLOAT,
    w_type: int = TensorProto.FLOAT,
    ranks: dict[str, int] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """One HasteConv. `constants` are initializers, `fed` graph inputs of free shape; what is in neither is left out."""
    ranks = {"X": 4, "W": 4, "B": 1, "V": 2, "L": 0, "Z": 4, "T": 0, "A": 2} | (ranks or {})
    names = [name if name in constants or name in fed else "" for name in HASTE_INPUTS]
    while not names[-1]:
        names.pop()
    node = helper.make_node(
        "HasteConv", names, ["Y", "stats"] if stats else ["Y"], name="conv_of_the_test", domain=DOMAIN, **attributes
    )
    types = {**HASTE_INPUTS, "X": x_type, "W": w_type}
    inputs = [helper.make_tensor_value_info(name, types[name], [None] * ranks[name]) for name in fed]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)]
    if stats:
        outputs.append(helper.make_tensor_value_info("stats", TensorProto.FLOAT, [8]))
    return model([node], inputs, outputs, constants)
