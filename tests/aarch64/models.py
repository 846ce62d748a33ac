"""Small networks, once stock and once with HasteConv, built by hand after docs/operator.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "ai.haste"
OPSET = 17
MAX_HYPERPLANES = 16
PATCH = 3


@dataclass(frozen=True)
class Layer:
    """One 3×3 convolution with padding 1 and Relu."""

    channels: int
    filters: int


def _weights(layer: Layer, rng: np.random.Generator) -> NDArray[np.float32]:
    scale = (2.0 / (layer.channels * 9)) ** 0.5
    weights: NDArray[np.float64] = rng.standard_normal((layer.filters, layer.channels, 3, 3)) * scale
    return weights.astype(np.float32)


def _hyperplanes(rng: np.random.Generator) -> NDArray[np.int8]:
    window = (PATCH + 2) ** 2
    return rng.choice([-1, 0, 1], (MAX_HYPERPLANES, window), p=[0.25, 0.5, 0.25]).astype(np.int8)


def haste_function() -> onnx.FunctionProto:
    """The body that runs without the library: Conv and Relu."""
    conv = helper.make_node("Conv", ["X", "W", "B"], ["conv"])
    for name, kind in (("pads", onnx.AttributeProto.INTS), ("kernel_shape", onnx.AttributeProto.INTS)):
        conv.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=name, type=kind))
    nodes = [
        conv,
        helper.make_node("Relu", ["conv"], ["Y"]),
        helper.make_node("Constant", [], ["stats"], value=numpy_helper.from_array(np.zeros(8, np.float32))),
    ]
    return helper.make_function(
        DOMAIN,
        "HasteConv",
        ["X", "W", "B", "V", "L"],
        ["Y", "stats"],
        nodes,
        [helper.make_opsetid("", OPSET)],
        ["pads", "kernel_shape", "patch", "merge", "activation"],
    )


def make_pair(folder: Path, layers: list[Layer], size: int, seed: int = 0) -> tuple[Path, Path]:
    """Writes stock.onnx and haste.onnx, the same chain of layers on [1, C, size, size]; returns the paths."""
    rng = np.random.default_rng(seed)
    weights = [_weights(layer, rng) for layer in layers]
    biases = [(0.1 * rng.standard_normal(layer.filters)).astype(np.float32) for layer in layers]
    shapes = [[1, layer.filters, size, size] for layer in layers]
    initializers = []
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        initializers += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, layers[0].channels, size, size])
    names = ["x"] + [f"y{i}" for i in range(len(layers))]
    output = helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, shapes[-1])

    stock_nodes, haste_nodes, hyperplanes = [], [], []
    for i in range(len(layers)):
        stock_nodes += [
            helper.make_node(
                "Conv", [names[i], f"w{i}", f"b{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4, kernel_shape=[3, 3]
            ),
            helper.make_node("Relu", [f"c{i}"], [names[i + 1]], f"relu{i}"),
        ]
        hyperplanes.append(numpy_helper.from_array(_hyperplanes(rng), f"v{i}"))
        haste_nodes.append(
            helper.make_node(
                "HasteConv",
                [names[i], f"w{i}", f"b{i}", f"v{i}", "haste_hyperplanes"],
                [names[i + 1], f"haste_stats/conv{i}"],
                f"conv{i}",
                domain=DOMAIN,
                pads=[1] * 4,
                kernel_shape=[3, 3],
                patch=PATCH,
                merge="scaled",
                activation="Relu",
            )
        )
    stock = helper.make_model(
        helper.make_graph(stock_nodes, "stock", [x], [output], initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    stats = [helper.make_tensor_value_info(f"haste_stats/conv{i}", TensorProto.FLOAT, [8]) for i in range(len(layers))]
    steering = helper.make_tensor_value_info("haste_hyperplanes", TensorProto.INT64, [])
    default = numpy_helper.from_array(np.array(8, np.int64), "haste_hyperplanes")
    haste = helper.make_model(
        helper.make_graph(
            haste_nodes,
            "haste",
            [x, steering],
            [output, *stats],
            [*initializers, *hyperplanes, default],
            value_info=[
                helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
                for n, s in zip(names[1:-1], shapes[:-1], strict=True)
            ],
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        functions=[haste_function()],
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "stock.onnx", folder / "haste.onnx"
    for model, path in zip((stock, haste), paths, strict=True):
        model.ir_version = 9
        onnx.save(model, path)
    return paths
