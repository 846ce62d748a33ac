"""Decides which convolutions become HasteConv; each refusal is a clause that completes "Conv 'name': ..."."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from haste_export.constants import Constants
from haste_export.contract import MAX_IN_CHANNELS, MAX_KERNEL, MAX_OUT_CHANNELS, MAX_PAD
from haste_export.graph import sizes_of


@dataclass(frozen=True)
class ConvForm:
    """The constant parts of a convolution that can become a HasteConv.

    Attributes:
        weights: float32 [M, C, kH, kW].
        bias: float32 [M], or None.
        pads: top, left, bottom, right.
    """

    weights: ir.TensorProtocol
    bias: ir.TensorProtocol | None
    pads: tuple[int, int, int, int]

    @property
    def out_channels(self) -> int:
        """M."""
        return sizes_of(self.weights)[0]

    @property
    def in_channels(self) -> int:
        """C."""
        return sizes_of(self.weights)[1]

    @property
    def kernel(self) -> tuple[int, int]:
        """(kH, kW)."""
        return sizes_of(self.weights)[2], sizes_of(self.weights)[3]


def conv_form(node: ir.Node, constants: Constants) -> ConvForm | str:
    """The form of a Conv that a HasteConv can compute, or the clause that says why none can."""
    attributes = node.attributes
    if any(attribute.is_ref() for attribute in attributes.values()):
        return "its attributes are parameters of a function"
    weights = constants.tensor(node.inputs[1])
    if weights is None:
        return "it is quantized" if _is_dequantized(node.inputs[1]) else "its weights are computed at run time"
    if len(weights.shape) != 4:
        return f"it is a {len(weights.shape) - 2}-D convolution"
    if weights.dtype != ir.DataType.FLOAT:
        return f"its weights are {weights.dtype.name.lower()}, not float32"
    if weights.size == 0:
        return "its weights are empty"
    if (group := attributes.get_int("group", 1)) != 1:
        return f"it has {group} groups"
    if (strides := list(attributes.get_ints("strides", [1, 1]))) != [1, 1]:
        return f"stride {_pair(strides)}"
    if (dilations := list(attributes.get_ints("dilations", [1, 1]))) != [1, 1]:
        return f"dilation {_pair(dilations)}"
    bias = None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = constants.tensor(node.inputs[2])
        if bias is None:
            return "its bias is computed at run time"
    form = ConvForm(weights, bias, (0, 0, 0, 0))
    if max(form.kernel) > MAX_KERNEL:
        sides = " by ".join(map(str, form.kernel))
        return f"its kernel is {sides}, larger than {MAX_KERNEL} by {MAX_KERNEL}"
    if form.in_channels > MAX_IN_CHANNELS:
        return f"it has {form.in_channels} input channels, more than {MAX_IN_CHANNELS}"
    if form.out_channels > MAX_OUT_CHANNELS:
        return f"it has {form.out_channels} output channels, more than {MAX_OUT_CHANNELS}"
    pads = _explicit_pads(node, form.kernel)
    if isinstance(pads, str):
        return pads
    return ConvForm(weights, bias, pads) if max(pads) <= MAX_PAD else f"its padding is larger than {MAX_PAD}"


def _is_dequantized(value: ir.Value | None) -> bool:
    """Whether the values are those of a quantized tensor; the runtime makes an integer convolution of such a Conv."""
    producer = value.producer() if value is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"


def _explicit_pads(node: ir.Node, kernel: tuple[int, int]) -> tuple[int, int, int, int] | str:
    """Pads as numbers; with stride 1, SAME needs k - 1 in all whatever the input's size."""
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        small = [(k - 1) // 2 for k in kernel]
        large = [(k - 1) - less for k, less in zip(kernel, small, strict=True)]
        begin, end = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        return begin[0], begin[1], end[0], end[1]
    if auto_pad == "VALID":
        return 0, 0, 0, 0
    top, left, bottom, right = node.attributes.get_ints("pads", [0, 0, 0, 0])
    if min(top, left, bottom, right) < 0:
        return "it has negative padding"
    return top, left, bottom, right


def _pair(values: list[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else " by ".join(map(str, values))
