"""Bodies of the local functions: what a runtime without the library runs in place of our operators.

The bodies are written in ONNX's text form, for exactly what the model's nodes use (docs/operator.md, "Local
functions"), so that a runtime folds everything but Conv, residual and activation away. They use the model's own opset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnx
import onnx.parser

from haste_export.contract import AVERAGE_POOL, CONV, DOMAIN, LEVEL, MAX_POOL, REORDER, STATS_LENGTH

# Every attribute a HasteConv node carries. The body reads a few; a runtime may refuse a node's attribute that its
# function does not name.
_CONV_ATTRIBUTES = (
    "kernel_shape, pads, strides, dilations, group, patch, merge, activation, activation_params, "
    "w_layout, x_layout, z_layout, y_layout"
)
_FLOAT, _INT64 = int(onnx.TensorProto.FLOAT), int(onnx.TensorProto.INT64)


class Activation(NamedTuple):
    """An activation and its parameters, as in the attributes of HasteConv."""

    name: str
    params: tuple[float, ...] = ()


@dataclass(frozen=True)
class ConvBody:
    """What the HasteConv nodes of one model use.

    Attributes:
        opset: the model's opset.
        activations: distinct activations; a node's `activation_id` is the place of its own.
        packed: whether the weights are packed; then nodes carry `w_shape`.
        half: whether some weights are float16.
        partial: whether some packed weights end in an unfilled block; then nodes carry `w_rows` too.
        residual: whether the nodes have Z.
        bounded: whether the nodes have T as well.
        stats: whether the nodes have the output `stats`.
    """

    opset: int
    activations: tuple[Activation, ...]
    packed: bool
    partial: bool
    residual: bool
    bounded: bool
    half: bool = False
    stats: bool = False

    def function(self) -> onnx.FunctionProto:
        """The local function HasteConv."""
        lines, weights = ([f"wide = Cast <to = {_FLOAT}> (W)"], "wide") if self.half else ([], "W")
        if self.packed:
            unpacked, weights = self._unpacked(weights)
            lines += unpacked
        lines.append(
            "sum = Conv <kernel_shape: ints = @kernel_shape, pads: ints = @pads, strides: ints = @strides, "
            f"dilations: ints = @dilations, group: int = @group> (X, {weights}, B)"
        )
        if self.residual:
            lines.append("pre = Add (sum, Z)")
        lines += self._activated("pre" if self.residual else "sum")
        if self.stats:
            zeros = ", ".join(["0.0"] * STATS_LENGTH)
            lines.append(f"stats = Constant <value = float[{STATS_LENGTH}] {{{zeros}}}> ()")
        attributes = _CONV_ATTRIBUTES
        attributes += ", w_shape" if self.packed else ""
        attributes += ", w_rows" if self.packed and self.partial else ""
        attributes += ", activation_id" if len(self.activations) > 1 else ""
        inputs = "X, W, B, V, L" + (", Z" if self.residual else "") + (", T" if self.bounded else "")
        return _parse(self.opset, CONV, attributes, inputs, "Y, stats" if self.stats else "Y", lines)

    def _unpacked(self, packed: str) -> tuple[list[str], str]:
        """[ceil(M/16), C, kH*kW, 16] -> [M, C, kH, kW]; a runtime folds it, since weights are constant."""
        lines = [
            f"rows_first = Transpose <perm = [0, 3, 1, 2]> ({packed})",
            *_integers(self.opset, "oihw", "value: tensor = @w_shape"),
            "whole = Reshape (rows_first, oihw)",
        ]
        if not self.partial:
            return lines, "whole"
        if self.opset < 10:
            return [*lines, "filters = Slice <axes = [0], starts = [0], ends: ints = @w_rows> (whole)"], "filters"
        start = ["first = Constant <value = int64[1] {0}> ()", "rows = Constant <value: tensor = @w_rows> ()"]
        return [*lines, *start, "filters = Slice (whole, first, rows, first)"], "filters"

    def _activated(self, value: str) -> list[str]:
        """Y = activation(value): in place if there is one in the model, else by an If on the constant activation_id."""
        if len(self.activations) == 1:
            return self._apply(self.activations[0], value, "Y")
        lines = _integers(self.opset, "id", "value: tensor = @activation_id")
        return [*lines, *self._ladder(value, "Y", 0)]

    def _ladder(self, value: str, out: str, place: int) -> list[str]:
        if place == len(self.activations) - 1:
            return self._apply(self.activations[place], value, out)
        literal = f"{place}.0" if self.opset < 9 else str(place)
        kind = "float" if self.opset < 9 else "int64"
        then_out, else_out = f"then{place}", f"else{place}"
        then = "\n".join(self._apply(self.activations[place], value, then_out))
        other = "\n".join(self._ladder(value, else_out, place + 1))
        return [
            *_integers(self.opset, f"id{place}", f"value = {kind} {{{literal}}}"),
            f"is{place} = Equal (id, id{place})",
            f"{out} = If (is{place}) <then_branch = then{place}_body () => (float[] {then_out}) {{ {then} }}, "
            f"else_branch = else{place}_body () => (float[] {else_out}) {{ {other} }}>",
        ]

    def _apply(self, activation: Activation, x: str, y: str) -> list[str]:
        """Lines that compute y = activation(x); helper values are named after y."""
        match activation.name:
            case "":
                return [f"{y} = Identity ({x})"]
            case "Relu" | "Sigmoid":
                return [f"{y} = {activation.name} ({x})"]
            case "LeakyRelu":
                return [f"{y} = LeakyRelu <alpha = {_number(activation.params[0])}> ({x})"]
            case "Silu":
                return [f"{y}_gate = Sigmoid ({x})", f"{y} = Mul ({x}, {y}_gate)"]
            case "HardSwish" if self.opset >= 14:
                return [f"{y} = HardSwish ({x})"]
            case "HardSwish":
                gate = f"{y}_gate = HardSigmoid <alpha = {_number(1 / 6)}, beta = 0.5> ({x})"
                return [gate, f"{y} = Mul ({x}, {y}_gate)"]
            case "Clip":
                low, high = (_number(bound) for bound in activation.params)
                if self.opset < 11:
                    return [f"{y} = Clip <min = {low}, max = {high}> ({x})"]
                return [
                    f"{y}_min = Constant <value = float {{{low}}}> ()",
                    f"{y}_max = Constant <value = float {{{high}}}> ()",
                    f"{y} = Clip ({x}, {y}_min, {y}_max)",
                ]
        raise ValueError(f"HasteConv has no activation '{activation.name}'")


def integer_attribute(opset: int, name: str, values: int | Sequence[int]) -> onnx.AttributeProto:
    """A constant for a function body: a tensor attribute, since bodies can read integers only so in every opset.

    float32 below opset 9, where Constant holds floating point only; the body casts it.
    """
    dims = [] if isinstance(values, int) else [len(values)]
    flat = [values] if isinstance(values, int) else list(values)
    kind = onnx.TensorProto.FLOAT if opset < 9 else onnx.TensorProto.INT64
    return onnx.helper.make_attribute(name, onnx.helper.make_tensor(name, kind, dims, flat))


def max_pool_function(opset: int) -> onnx.FunctionProto:
    """The local function HasteMaxPool."""
    ceil_mode = ", ceil_mode: int = @ceil_mode" if opset >= 10 else ""
    line = f"Y = MaxPool <{_WINDOW}{ceil_mode}> (X)"
    return _parse(opset, MAX_POOL, f"kernel_shape, strides, pads, ceil_mode, {_LAYOUTS}", "X", "Y", [line])


def average_pool_function(opset: int) -> onnx.FunctionProto:
    """The local function HasteAveragePool."""
    ceil_mode = ", ceil_mode: int = @ceil_mode" if opset >= 10 else ""
    line = f"Y = AveragePool <{_WINDOW}{ceil_mode}, count_include_pad: int = @count_include_pad> (X)"
    attributes = f"kernel_shape, strides, pads, ceil_mode, count_include_pad, {_LAYOUTS}"
    return _parse(opset, AVERAGE_POOL, attributes, "X", "Y", [line])


def reorder_function(opset: int) -> onnx.FunctionProto:
    """The local function HasteReorder: without the library every tensor is NCHW."""
    return _parse(opset, REORDER, _LAYOUTS, "X", "Y", ["Y = Identity (X)"])


def level_function(opset: int) -> onnx.FunctionProto:
    """The local function HasteLevel: table[max(level, 0)].

    Gather counts negative indices from the end, so -1 would be the last level and not, as a negative L, dense. Before
    opset 12 Max takes no integers, but Relu takes floats in all opsets.
    """
    lines = [
        f"signed = Cast <to = {_FLOAT}> (level)",
        "clamped = Relu (signed)",
        f"row = Cast <to = {_INT64}> (clamped)",
        "value = Gather <axis = 0> (table, row)",
    ]
    return _parse(opset, LEVEL, "", "level, table", "value", lines)


_WINDOW = "kernel_shape: ints = @kernel_shape, strides: ints = @strides, pads: ints = @pads"
_LAYOUTS = "x_layout, y_layout"


def _integers(opset: int, name: str, constant: str) -> list[str]:
    if opset >= 9:
        return [f"{name} = Constant <{constant}> ()"]
    return [f"{name}_float = Constant <{constant}> ()", f"{name} = Cast <to = {_INT64}> ({name}_float)"]


def _number(value: float) -> str:
    """The shortest text that reads back as this float, in the form the parser takes."""
    text = repr(float(value))
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


def _parse(
    opset: int, name: str, attributes: str, inputs: str, outputs: str, lines: Sequence[str]
) -> onnx.FunctionProto:
    body = "\n".join(lines)
    function: onnx.FunctionProto = onnx.parser.parse_function(
        f'<domain: "{DOMAIN}", opset_import: ["": {opset}]>\n'
        f"{name} {f'<{attributes}>' if attributes else ''} ({inputs}) => ({outputs}) {{\n{body}\n}}"
    )
    return function
