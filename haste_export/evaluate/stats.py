"""What the statistics of a compressed model's layers say about its cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import runtime_ops
from haste_export import contract
from haste_export.flops import Compression, LayerCost, LayerShape, layer_cost, model_cost, plain_layer

Array = npt.NDArray[Any]


def haste_convs(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The HasteConv nodes of the main graph, in order."""
    return (node for node in model.graph.node if node.domain == contract.DOMAIN and node.op_type == contract.CONV)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attribute values by name; strings as str."""
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


@dataclass(frozen=True)
class Layer:
    """A convolution of a compressed model, as its cost is reckoned.

    Attributes:
        name: of the node.
        compressed: whether it is a HasteConv.
        shape: its sizes, for one sample; of a grouped convolution, with the channels of one group.
        merge: "scaled", "mean" or "norm", of a HasteConv.
        hyperplanes: int8 [Lmax, Q], of a HasteConv.
        input_bytes: of its input tensor [C, H, W], float32, for one sample.
    """

    name: str
    compressed: bool
    shape: LayerShape
    merge: str = "mean"
    hyperplanes: npt.NDArray[np.int8] | None = None
    input_bytes: int = 0

    def cost(self, count: int, stats: Array | None) -> LayerCost:
        """FLOPs for one sample with L = `count`, from the statistics of a run; L of 0 or less is dense."""
        if not self.compressed or count <= 0 or stats is None or self.hyperplanes is None:
            return plain_layer(self.shape)
        zeros = float((self.hyperplanes[:count] == 0).mean())
        return layer_cost(self.shape, Compression.from_stats(stats.tolist()), count, zeros, self.merge)

    def merged_bytes(self, r: float) -> float:
        """Bytes of the input after merging as the paper counts them (Fig. 5): (1 − r)·C·H·W floats.

        Windows of neighbouring patches overlap, so the merged windows of all patches together are q²/p² times as many.
        """
        return (1 - r) * self.input_bytes


def model_layers(compressed: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Layer]:
    """All convolutions of a compressed model's main graph whose weights it holds, in order.

    Args:
        compressed: what the exporter wrote.
        feeds: one batch; the model is run on it, by its fallback bodies, to learn the sizes.
    """
    initializers = {tensor.name: tensor for tensor in compressed.graph.initializer}
    convs = [node for node in compressed.graph.node if node.op_type in ("Conv", contract.CONV)]
    nodes = [node for node in convs if node.input[1] in initializers]
    shapes = _shapes(compressed, [name for node in nodes for name in (node.input[0], node.output[0])], feeds)
    return [_layer(node, shapes[node.input[0]], shapes[node.output[0]], initializers) for node in nodes]


def _shapes(
    compressed: onnx.ModelProto, names: Sequence[str], feeds: Mapping[str, Array]
) -> dict[str, tuple[int, ...]]:
    """Of values of the main graph, by a run of the fallback bodies."""
    probe = onnx.ModelProto()
    probe.CopyFrom(compressed)
    asked = [name for name in dict.fromkeys(names) if name not in feeds]
    known = {output.name for output in probe.graph.output}
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in asked if name not in known
    )
    session = runtime_ops.Session(probe.SerializeToString(), library=False)
    values = {**feeds, **dict(zip(asked, session.run(feeds, asked), strict=True))}
    return {name: values[name].shape for name in names}


def _layer(
    node: onnx.NodeProto, x: tuple[int, ...], out: tuple[int, ...], initializers: Mapping[str, onnx.TensorProto]
) -> Layer:
    values = attributes(node)
    weights = initializers[node.input[1]].dims  # [M, C, kH, kW], or packed [M/16, C, kH*kW, 16]
    kernel = values.get("kernel_shape") or weights[2:]
    kernel_w = kernel[1] if len(kernel) > 1 else 1
    out_h, out_w = out[2], out[3] if len(out) > 3 else 1
    patch = values.get("patch", contract.PATCH)
    shape = LayerShape(weights[1], out[1], out_h, out_w, kernel[0], kernel_w, patch)
    input_bytes = 4 * math.prod(x[1:])
    if node.domain != contract.DOMAIN:
        return Layer(node.name, False, shape, input_bytes=input_bytes)
    hyperplanes = numpy_helper.to_array(initializers[node.input[contract.V]])
    return Layer(node.name, True, shape, values.get("merge", "scaled"), hyperplanes, input_bytes)


def patches(compressed: onnx.ModelProto) -> dict[str, int]:
    """The patch of every HasteConv, by name."""
    return {node.name: attributes(node).get("patch", contract.PATCH) for node in haste_convs(compressed)}


def hyperplanes_in_use(compressed: onnx.ModelProto, setting: int) -> dict[str, int]:
    """L of every HasteConv when the model's steering input, haste_level or haste_hyperplanes, is `setting`."""
    makers = {output: node for node in compressed.graph.node for output in node.output}
    initializers = {tensor.name: tensor for tensor in compressed.graph.initializer}

    def count(node: onnx.NodeProto) -> int:
        source = makers.get(node.input[contract.L])
        if source is None or source.op_type != contract.LEVEL:
            return setting
        table = numpy_helper.to_array(initializers[source.input[1]])
        return int(table[setting])

    return {node.name: count(node) for node in haste_convs(compressed)}


def total_cost(layers: Sequence[Layer], counts: Mapping[str, int], stats: Mapping[str, Array]) -> LayerCost:
    """FLOPs of all convolutions for one sample; `counts` has L by layer, and `stats` what a run reported."""
    return model_cost(layer.cost(counts.get(layer.name, 0), stats.get(layer.name)) for layer in layers)


def compression(stats: Mapping[str, Array]) -> float:
    """The mean of the layers' r = 1 − C̃/C, each layer counting the same (as in the paper's tables)."""
    rates = [1 - value[2] / value[1] for value in stats.values() if value[1]]
    return float(np.mean(rates)) if rates else 0.0
