"""What there is to know about a model without running it: what would be rewritten, or what was."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import onnx_ir as ir

from haste_export import contract
from haste_export.compiler import compress_ir
from haste_export.flops import Compression, LayerShape, layer_cost
from haste_export.graph import nodes_of
from haste_export.options import Options
from haste_export.report import LayerReport, Report


@dataclass(frozen=True)
class Prospect:
    """A convolution of a plain model, and what rewriting it would cost.

    Attributes:
        layer: what the exporter says about it.
        qualifies: whether it can become a HasteConv; the cost model may leave it a Conv all the same.
        flops: FLOPs of the plain convolution for one image; None if a size is not static.
        break_even: the compression r at which HasteConv costs as many FLOPs; None if unknown, above 1 if never.
    """

    layer: LayerReport
    qualifies: bool
    flops: float | None
    break_even: float | None


@dataclass(frozen=True)
class CompressedLayer:
    """A HasteConv. `height` and `width` are those of its output, None if not static; `levels` has L by level.

    `weights` is their layout; `weight_type` and `weight_bytes` say how they are stored, None if they are not constant.
    """

    name: str
    in_channels: int | None
    out_channels: int | None
    kernel: tuple[int, ...]
    height: int | None
    width: int | None
    patch: int
    merge: str
    max_hyperplanes: int | None
    levels: list[int]
    activation: str
    residual: bool
    bounded: bool
    weights: str
    weight_type: str | None
    weight_bytes: int | None
    input_layout: str
    output_layout: str


@dataclass(frozen=True)
class CompressedModel:
    """A model that haste-export wrote: its layers, the Convs left in it, its steering inputs with their defaults."""

    layers: list[CompressedLayer]
    plain_convolutions: list[str]
    steering: dict[str, float] = field(default_factory=dict)
    fallback: bool = True
    metadata: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)


def is_compressed(model: ir.Model) -> bool:
    """Whether the model uses our operators."""
    return contract.DOMAIN in model.graph.opset_imports


def prospects(model: ir.Model, options: Options) -> tuple[list[Prospect], Report]:
    """Compress the model, which is changed by that, and return what became of every convolution.

    Raises:
        HasteError: it cannot be compressed, or the options do not fit it.
    """
    _, report = compress_ir(model, options)
    found = []
    for layer in report.layers:
        qualifies = layer.status == "rewritten" or layer.speed is not None  # only what qualifies is predicted
        even = break_even(layer.shape, options) if layer.shape is not None and qualifies else None
        found.append(Prospect(layer, qualifies, layer.flops_regular, even))
    return found, report


def break_even(shape: LayerShape, options: Options) -> float:
    """Compression r at which HasteConv costs as many FLOPs as Conv; infinite if it never does.

    The cost is linear in r. The average number of merged buckets, m, is not known without data; it adds less than one
    operation per channel and window element to the merge, and is left out.
    """
    if options.hyperplanes <= 0:
        return 0.0
    costs = [
        layer_cost(shape, Compression(r, 0.0), options.hyperplanes, options.sparsity, options.merge) for r in (0.0, 0.5)
    ]
    saved_per_r = (costs[0].haste - costs[1].haste) / 0.5
    return (costs[0].haste - costs[0].regular) / saved_per_r if saved_per_r > 0 else float("inf")


def describe_compressed(model: ir.Model) -> CompressedModel:
    """Read a compressed model: layers, layouts, hyperplanes, steering."""
    steering = {}
    for value in model.graph.inputs:
        if value.name in _STEERING and value.const_value is not None:
            steering[value.name] = float(value.const_value.numpy().reshape(-1)[0])
    return CompressedModel(
        [_compressed_layer(node) for node in nodes_of(model, contract.DOMAIN, contract.CONV)],
        [str(node.name) for node in nodes_of(model, "", "Conv")],
        steering,
        any(key[:2] == (contract.DOMAIN, contract.CONV) for key in model.functions),
        {key: text for key, text in model.metadata_props.items() if key.startswith("haste.")},
    )


_STEERING = (contract.STEERING_HYPERPLANES, contract.STEERING_LEVEL, contract.STEERING_TAU)


def _compressed_layer(node: ir.Node) -> CompressedLayer:
    attributes = node.attributes
    out = _dims(node.outputs[0], 4)
    kernel = tuple(attributes.get_ints("kernel_shape", []))
    residual = _input(node, contract.Z)
    planes = _dims(_input(node, contract.V), 2)
    value = _input(node, contract.W)
    weights = None if value is None else value.const_value
    return CompressedLayer(
        name=str(node.name),
        # Both forms of the weights have C second; packed ones round M up, so M is read from the bias.
        in_channels=_dims(_input(node, contract.W), 4)[1],
        out_channels=_dims(_input(node, contract.B), 1)[0],
        kernel=kernel,
        height=out[2],
        width=out[3],
        patch=attributes.get_int("patch", contract.PATCH),
        merge=attributes.get_string("merge", "scaled"),
        max_hyperplanes=planes[0],
        levels=_hyperplanes_by_level(node.inputs[contract.L]),
        activation=attributes.get_string("activation", ""),
        residual=residual is not None and not residual.is_initializer(),
        bounded=_input(node, contract.T) is not None,
        weights=attributes.get_string("w_layout", contract.OIHW),
        weight_type=None if weights is None else weights.dtype.numpy().name,
        weight_bytes=None if weights is None else weights.nbytes,
        input_layout=attributes.get_string("x_layout", contract.NCHW),
        output_layout=attributes.get_string("y_layout", contract.NCHW),
    )


def _hyperplanes_by_level(value: ir.Value | None) -> list[int]:
    """L for every level of haste_level, or the one default of haste_hyperplanes."""
    if value is None:
        return []
    producer = value.producer()
    source = producer.inputs[1] if producer is not None and producer.op_type == contract.LEVEL else value
    if source is None or source.const_value is None:
        return []
    return [int(count) for count in source.const_value.numpy().reshape(-1)]


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if len(node.inputs) > index else None


def _dims(value: ir.Value | None, rank: int) -> list[int | None]:
    """Static dimensions of a value of this rank, None for those that are not known."""
    if value is None or value.shape is None or value.shape.rank() != rank:
        return [None] * rank
    return [dim if isinstance(dim, int) else None for dim in value.shape]
