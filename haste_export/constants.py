"""Finds what is constant: initializers, Constant nodes, and expressions over them that old exporters leave in models.

Only what a rewrite asks for is evaluated, so a model's other expressions keep their form and size.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

# Deterministic, cheap, and found in front of weights and batch-norm parameters. DequantizeLinear is left out on
# purpose: folding it would undo a quantised model's compact weights.
_FOLDABLE = frozenset({
    "Add", "Cast", "Concat", "ConstantOfShape", "Div", "Expand", "Flatten", "Identity", "Mul", "Neg", "Reciprocal",
    "Reshape", "Shape", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze",
})  # fmt: skip
_MAX_DEPTH = 32


class Constants:
    """Knows which values of one model are constant."""

    def __init__(self, model: ir.Model) -> None:
        """Expressions are evaluated with the meaning that the model's opset gives them."""
        self._opset = model.graph.opset_imports.get("", 1)
        self._evaluated: dict[ir.Value, ir.TensorProtocol | None] = {}

    def tensor(self, value: ir.Value | None) -> ir.TensorProtocol | None:
        """The tensor that `value` always holds, or None if it may change from run to run.

        An initializer that is also a graph input can be overridden by the caller and is not constant.
        """
        return self._tensor(value, 0)

    def scalar(self, value: ir.Value | None) -> float | None:
        """The number that `value` always holds, if it is a constant of one element."""
        tensor = self.tensor(value)
        return float(tensor.numpy().reshape(-1)[0]) if tensor is not None and tensor.size == 1 else None

    def _tensor(self, value: ir.Value | None, depth: int) -> ir.TensorProtocol | None:
        if value is None or depth > _MAX_DEPTH:
            return None
        if value.is_initializer():
            return None if value.is_graph_input() else value.const_value
        node = value.producer()
        if node is None or node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type == "Constant":
            return _constant_node(node)
        if node.op_type not in _FOLDABLE:
            return None
        if value not in self._evaluated:
            self._evaluated[value] = self._evaluate(node, depth)
        return self._evaluated[value]

    def _evaluate(self, node: ir.Node, depth: int) -> ir.TensorProtocol | None:
        inputs = [self._tensor(item, depth + 1) if item is not None else None for item in node.inputs]
        if any(item is not None and tensor is None for item, tensor in zip(node.inputs, inputs, strict=True)):
            return None
        if node.op_type == "Identity":
            return inputs[0]
        feeds = {f"i{index}": tensor.numpy() for index, tensor in enumerate(inputs) if tensor is not None}
        proto = ir.to_proto(node)
        proto.input[:] = [f"i{index}" if tensor is not None else "" for index, tensor in enumerate(inputs)]
        proto.output[:] = ["o"]
        opset = onnx.helper.make_opsetid("", self._opset)
        function = onnx.helper.make_function("haste.constants", "Expression", list(feeds), ["o"], [proto], [opset])
        (result,) = ReferenceEvaluator(function).run(None, feeds, attributes={})
        return ir.tensor(result)


def _constant_node(node: ir.Node) -> ir.TensorProtocol | None:
    (attribute,) = node.attributes.values()
    if attribute.is_ref():
        return None
    if attribute.type == ir.AttributeType.TENSOR:
        return attribute.as_tensor()
    match attribute.name:
        case "value_float":
            return ir.tensor(attribute.as_float(), dtype=ir.DataType.FLOAT)
        case "value_floats":
            return ir.tensor(attribute.as_floats(), dtype=ir.DataType.FLOAT)
        case "value_int":
            return ir.tensor(attribute.as_int(), dtype=ir.DataType.INT64)
        case "value_ints":
            return ir.tensor(attribute.as_ints(), dtype=ir.DataType.INT64)
    return None
