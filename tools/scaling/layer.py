"""The layer that is measured, and the sweeps over its sizes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUT, OUTPUT = "x", "y"
_OPSET = 17
_IR_VERSION = 8


@dataclass(frozen=True)
class Layer:
    """A 3×3 convolution with padding 1, bias and Relu, and how it is run.

    Attributes:
        side: height and width of input and output.
        channels: C.
        filters: M.
        hyperplanes: L of ours.
        batch: N.
        threads: threads of one run.
    """

    side: int = 60
    channels: int = 128
    filters: int = 128
    hyperplanes: int = 14
    batch: int = 1
    threads: int = 1

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape [N, C, H, W]."""
        return self.batch, self.channels, self.side, self.side

    @property
    def flops(self) -> int:
        """Floating-point operations of the exact convolution, two per multiply-add."""
        return 2 * self.batch * self.side**2 * 9 * self.channels * self.filters


BASE = Layer()


def sweeps(cores: int = os.cpu_count() or 1) -> Mapping[str, Sequence[Layer]]:
    """Return for every quantity the layers that differ from BASE in it alone, smallest first."""
    values: dict[str, Sequence[int]] = {
        "side": (15, 30, 60, 120, 240),
        "channels": (16, 32, 64, 128, 256, 512),
        "filters": (16, 32, 64, 128, 256, 512),
        "hyperplanes": (0, 4, 8, 10, 12, 14, 17, 20, 24, 28, 32),
        "batch": (1, 2, 4, 8),
        "threads": tuple(range(1, cores + 1)) if cores <= 4 else (1, 2, 4, cores),
    }
    return {name: [dataclasses.replace(BASE, **{name: value}) for value in found] for name, found in values.items()}


def build(layer: Layer) -> onnx.ModelProto:
    """Return the layer as an ONNX model: Conv and Relu, random weights, static shapes."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((layer.filters, layer.channels, 3, 3), dtype=np.float32)
    weights /= np.sqrt(9 * layer.channels)
    bias = random.standard_normal(layer.filters, dtype=np.float32)
    output_shape = (layer.batch, layer.filters, layer.side, layer.side)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [INPUT, "w", "b"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], [OUTPUT]),
        ],
        "layer",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, layer.input_shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
