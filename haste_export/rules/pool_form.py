"""Recognises the pools that can run on blocked tensors."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class PoolForm:
    """A 2-D pool without dilation and with explicit pads (top, left, bottom, right)."""

    is_max: bool
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    ceil_mode: int
    count_include_pad: int


def pool_form(node: ir.Node) -> PoolForm | None:
    """The form of a MaxPool or AveragePool, or None if the kernels do not have it."""
    if node.domain != "" or node.op_type not in ("MaxPool", "AveragePool") or len(node.outputs) != 1:
        return None
    attributes = node.attributes
    if any(attribute.is_ref() for attribute in attributes.values()):
        return None
    kernel = tuple(attributes.get_ints("kernel_shape", ()))
    if len(kernel) != 2 or any(dilation != 1 for dilation in attributes.get_ints("dilations", ())):
        return None
    strides = tuple(attributes.get_ints("strides", (1, 1)))
    pads = tuple(attributes.get_ints("pads", (0, 0, 0, 0)))
    auto_pad = attributes.get_string("auto_pad", "NOTSET")
    # SAME pads depend on the input's size unless the stride is 1; those few stay as they are.
    if auto_pad not in ("NOTSET", "VALID") or min(pads) < 0:
        return None
    top, left, bottom, right = pads if auto_pad == "NOTSET" else (0, 0, 0, 0)
    return PoolForm(
        is_max=node.op_type == "MaxPool",
        kernel=(kernel[0], kernel[1]),
        strides=(strides[0], strides[1]),
        pads=(top, left, bottom, right),
        ceil_mode=attributes.get_int("ceil_mode", 0),
        count_include_pad=attributes.get_int("count_include_pad", 0),
    )
