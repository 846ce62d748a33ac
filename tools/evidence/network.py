"""Runs a small ONNX CNN in PyTorch with some convolutions replaced, for groupings that the operator does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

Replacement = Callable[[str, Tensor, Tensor, Tensor, tuple[int, int, int, int]], Tensor]
"""From a layer's name, input, weights, bias and pads (top, left, bottom, right) to its output."""


class Network:
    """A network of Conv, Relu, Add, MaxPool, ReduceMean and Gemm nodes.

    Attributes:
        eligible: names of the stride-1 convolutions but the first, which the exporter rewrites by default.
    """

    def __init__(self, path: Path) -> None:
        """Read the model."""
        graph = onnx.load(path).graph
        self._nodes = list(graph.node)
        self._weights = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
        self._input, self._output = graph.input[0].name, graph.output[0].name
        convs = [node for node in self._nodes if node.op_type == "Conv"]
        self.eligible = [
            node.name for node in convs[1:] if list(_attributes(node).get("strides", [1])) in ([1], [1, 1])
        ]

    @torch.no_grad()
    def run(self, x: Tensor, replacement: Replacement | None = None) -> Tensor:
        """Outputs for inputs [N, C, H, W]; `replacement` computes the eligible convolutions."""
        values = {**self._weights, self._input: x}
        for node in self._nodes:
            inputs = [values[name] for name in node.input]
            attributes = _attributes(node)
            if node.op_type == "Conv" and replacement is not None and node.name in self.eligible:
                source, weight, bias = inputs
                top, left, bottom, right = attributes.get("pads", [0] * 4)
                values[node.output[0]] = replacement(node.name, source, weight, bias, (top, left, bottom, right))
            else:
                values[node.output[0]] = _OPERATORS[node.op_type](attributes, *inputs)
        return values[self._output]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def _conv(attributes: dict[str, Any], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    top, left = attributes.get("pads", [0] * 4)[:2]
    return functional.conv2d(x, weight, bias, stride=attributes.get("strides", [1, 1]), padding=(top, left))


def _max_pool(attributes: dict[str, Any], x: Tensor) -> Tensor:
    pads = attributes.get("pads", [0] * 4)
    return functional.max_pool2d(x, attributes["kernel_shape"], attributes["strides"], pads[:2])


def _gemm(attributes: dict[str, Any], a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return a @ (b.T if attributes.get("transB") else b) + c


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Conv": _conv,
    "Relu": lambda _, x: functional.relu(x),
    "Add": lambda _, a, b: a + b,
    "MaxPool": _max_pool,
    "ReduceMean": lambda attributes, x, axes: x.mean(axes.tolist(), keepdim=bool(attributes.get("keepdims", 1))),
    "Gemm": _gemm,
}
