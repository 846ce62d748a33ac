"""ONNX shape inference that leaves the model as it is where it fails."""

from __future__ import annotations

import logging

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from haste_export.graph import values_of

_LOGGER = logging.getLogger("onnx_ir.passes.common.shape_inference")

_MAKES_NO_TENSOR = frozenset({
    "Optional", "OptionalGetElement", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
    "SequenceMap", "SplitToSequence",
})  # fmt: skip


class InferShapes(ir.passes.InPlacePass):
    """Fills in the shapes of activations. Shapes are a help and no condition, so a failure is not an error.

    The underlying pass takes every value for a tensor, and a model that calls a sequence a tensor does not load. So
    where a model has sequences or optionals, what may be one keeps no type but its own.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Infer, without strictness and without the traceback that the underlying pass logs."""
        untyped = _values_that_may_be_no_tensors(model)
        level = _LOGGER.level
        _LOGGER.setLevel(logging.ERROR)
        try:
            return ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        finally:
            _LOGGER.setLevel(level)
            for value in untyped:
                value.type = value.shape = None


def _values_that_may_be_no_tensors(model: ir.Model) -> list[ir.Value]:
    """Those without a type of their own, if the model has anything but tensors."""
    graphs = list(model.graphs())
    values = [value for graph in graphs for value in values_of(graph)]
    declared = any(value.type is not None and not isinstance(value.type, ir.TensorType) for value in values)
    if not declared and not any(node.op_type in _MAKES_NO_TENSOR for graph in graphs for node in graph):
        return []
    return [value for value in values if value.type is None and _may_be_no_tensor(value.producer())]


def _may_be_no_tensor(node: ir.Node | None) -> bool:
    """Whether a node passes values on, or makes values, of other kinds; inputs of subgraphs have no node."""
    if node is None or node.domain != "" or node.op_type in ("Identity", *_MAKES_NO_TENSOR):
        return True
    return any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values())
