"""Symbolic sizes of activations, where ONNX's own shape inference gives up on dynamic dimensions.

A residual may only be fused when the shapes are equal, not merely broadcastable. With a dynamic height ONNX knows
nothing of a convolution's output height; here it is an expression in the input's height, and equal expressions are
equal sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from haste_export.contract import CONV, DOMAIN

Dim = int | str
Sizes = tuple[Dim, ...]

_SAME_AS_FIRST = frozenset({
    "BatchNormalization", "Cast", "Clip", "Dropout", "Elu", "HardSigmoid", "HardSwish", "Identity", "LRN", "LeakyRelu",
    "PRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Tanh",
})  # fmt: skip
_BINARY = frozenset({"Add", "Div", "Mul", "Sub", "Sum"})


class Dims:
    """Sizes of the values of a model as integers or canonical expressions, computed when first asked for."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, Sizes | None] = {}

    def same_shape(self, a: ir.Value, b: ir.Value) -> bool:
        """Whether both have one shape in every run."""
        sizes = self.of(a)
        return sizes is not None and sizes == self.of(b)

    def of(self, value: ir.Value) -> Sizes | None:
        """Sizes of `value`, or None if not even its rank is known."""
        # Iterative: deep networks exceed Python's recursion limit.
        pending = [value]
        while pending:
            current = pending[-1]
            if current in self._known:
                pending.pop()
                continue
            node = current.producer()
            missing = [item for item in (node.inputs if node else ()) if item is not None and item not in self._known]
            if missing:
                pending.extend(missing)
                continue
            self._known[current] = self._infer(current)
            pending.pop()
        return self._known[value]

    def _infer(self, value: ir.Value) -> Sizes | None:
        derived = self._derive(value.producer(), value)
        if value.shape is None:
            return derived
        name = value.name or str(id(value))
        known: list[Dim] = []
        for axis, dim in enumerate(value.shape):
            own = dim if isinstance(dim, int) else dim.value
            other = derived[axis] if derived is not None and len(derived) == len(value.shape) else None
            # A static size wins; then an expression, because names given by inference differ between equal sizes.
            if isinstance(own, int):
                known.append(own)
            else:
                known.append(other or own or f"{name}[{axis}]")
        return tuple(known)

    def _derive(self, node: ir.Node | None, value: ir.Value) -> Sizes | None:
        if node is None or value is not node.outputs[0] or not node.inputs or node.inputs[0] is None:
            return None
        first = self._known.get(node.inputs[0])
        if first is None:
            return None
        if (node.op_type == "Conv" and node.domain == "") or (node.op_type == CONV and node.domain == DOMAIN):
            return self._convolved(node, first, value)
        if node.domain != "":
            return None
        if node.op_type in _SAME_AS_FIRST:
            return first
        if node.op_type in _BINARY:
            operands = [self._known.get(item) for item in node.inputs if item is not None]
            return first if all(sizes == first for sizes in operands) else None
        if node.op_type in ("MaxPool", "AveragePool"):
            return self._windowed(node, first, node.attributes.get_ints("kernel_shape", ()), first[1])
        return None

    def _convolved(self, node: ir.Node, sizes: Sizes, value: ir.Value) -> Sizes | None:
        weights = node.inputs[1]
        shape = weights.shape if weights is not None else None
        if node.op_type == CONV:
            kernel = node.attributes.get_ints("kernel_shape", ())
            channels: Dim | None = value.shape[1] if value.shape is not None else None  # type: ignore[assignment]
        else:
            if shape is None or not shape.is_static():
                return None
            kernel, channels = shape.numpy()[2:], shape.numpy()[0]
        return self._windowed(node, sizes, kernel, channels) if isinstance(channels, int) else None

    @staticmethod
    def _windowed(node: ir.Node, sizes: Sizes, kernel: Sequence[int], channels: Dim) -> Sizes | None:
        """Sizes after a sliding window: floor((size + pads - dilation * (kernel - 1) - 1) / stride) + 1."""
        spatial = len(kernel)
        attributes = node.attributes
        if attributes.get_int("ceil_mode", 0) or len(sizes) != spatial + 2:
            return None
        strides = attributes.get_ints("strides", [1] * spatial)
        dilations = attributes.get_ints("dilations", [1] * spatial)
        auto_pad = attributes.get_string("auto_pad", "NOTSET")
        pads = attributes.get_ints("pads", [0] * (2 * spatial)) if auto_pad == "NOTSET" else [0] * (2 * spatial)
        result: list[Dim] = [sizes[0], channels]
        for axis in range(spatial):
            size, stride = sizes[axis + 2], strides[axis]
            if auto_pad.startswith("SAME"):
                result.append(_divided(size, stride - 1, stride, 0))
                continue
            grown = pads[axis] + pads[axis + spatial] - dilations[axis] * (kernel[axis] - 1) - 1
            result.append(_divided(size, grown, stride, 1))
        return tuple(result)


def _divided(size: Dim, add: int, stride: int, plus: int) -> Dim:
    """floor((size + add) / stride) + plus, as a number or in one canonical spelling."""
    if isinstance(size, int):
        return (size + add) // stride + plus
    whole, rest = divmod(add, stride)
    plus += whole
    if stride > 1:
        size = f"({size}{rest:+d})//{stride}"
    return f"({size}{plus:+d})" if plus or stride > 1 else size
