"""Recognises the pools that can run on blocked tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from haste_export.dims import Dims


@dataclass(frozen=True)
class PoolForm:
    """A 2-D pool without dilation and with explicit pads (top, left, bottom, right)."""

    is_max: bool
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    ceil_mode: int
    count_include_pad: int


def pool_form(node: ir.Node, dims: Dims) -> PoolForm | None:
    """The form of a MaxPool or AveragePool, or None if the kernels do not have it.

    Automatic pads become explicit where the size of the input is known, or does not matter.
    """
    if node.domain != "" or node.op_type not in ("MaxPool", "AveragePool") or len(node.outputs) != 1:
        return None
    attributes = node.attributes
    if any(attribute.is_ref() for attribute in attributes.values()):
        return None
    kernel = tuple(attributes.get_ints("kernel_shape", ()))
    if len(kernel) != 2 or any(dilation != 1 for dilation in attributes.get_ints("dilations", ())):
        return None
    strides = tuple(attributes.get_ints("strides", (1, 1)))
    pads = _explicit_pads(node, kernel, strides, dims)
    if pads is None or min(pads) < 0:
        return None
    return PoolForm(
        is_max=node.op_type == "MaxPool",
        kernel=(kernel[0], kernel[1]),
        strides=(strides[0], strides[1]),
        pads=pads,
        ceil_mode=attributes.get_int("ceil_mode", 0),
        count_include_pad=attributes.get_int("count_include_pad", 0),
    )


def _explicit_pads(
    node: ir.Node, kernel: Sequence[int], strides: Sequence[int], dims: Dims
) -> tuple[int, int, int, int] | None:
    """Pads as numbers. SAME means ceil(size / stride) outputs: it pads what these need beyond the input."""
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    if auto_pad == "VALID":
        return 0, 0, 0, 0
    if auto_pad == "NOTSET":
        top, left, bottom, right = node.attributes.get_ints("pads", (0, 0, 0, 0))
        return top, left, bottom, right
    sizes = dims.of(node.inputs[0]) if node.inputs[0] is not None else None
    totals = []
    for axis in range(2):
        size = sizes[axis + 2] if sizes is not None else None
        if strides[axis] == 1:
            totals.append(kernel[axis] - 1)
        elif isinstance(size, int):
            outputs = -(-size // strides[axis])
            totals.append((outputs - 1) * strides[axis] + kernel[axis] - size)
        else:
            return None
    if min(totals) < 0:
        return None  # a stride beyond the kernel: runtimes disagree on where such a pool starts
    small = [total // 2 for total in totals]
    large = [total - less for total, less in zip(totals, small, strict=True)]
    begin, end = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    return begin[0], begin[1], end[0], end[1]
