"""The addition of a residual behind a HasteConv becomes its input Z."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext, RewriteRule

from haste_export.contract import CONV, DOMAIN, Z
from haste_export.dims import Dims
from haste_export.rules.base import Rule, node_of
from haste_export.rules.haste_conv import check_no_activation, rebuilt


class FuseResidual(Rule):
    """Add(HasteConv(x), z) or Sum(HasteConv(x), z) -> HasteConv(x, z), if both have one shape.

    When both operands are HasteConvs, the later one takes the other as its Z: then the order of the nodes stays valid
    and the earlier one can run, and be released, first.
    """

    def __init__(self, dims: Dims, op_type: str, *, residual_first: bool) -> None:
        super().__init__(name=f"FuseResidual({op_type})")
        self._dims = dims
        self._op_type = op_type
        self._residual_first = residual_first

    def pattern(self, op: Any, z: Any) -> Any:
        """The sum of a HasteConv that nothing else reads and another value."""
        conv = getattr(op, CONV)(
            _domain=DOMAIN, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["conv_out"]
        )
        operands = (z, conv) if self._residual_first else (conv, z)
        return getattr(op, self._op_type)(*operands)

    def check(self, context: Any, z: ir.Value, conv_out: ir.Value) -> MatchResult:
        """Refuse a broadcast, a second residual, and the earlier of two HasteConvs."""
        del context
        result = check_no_activation(conv_out)
        conv = node_of(conv_out)
        if not result:
            return result
        if z is conv_out:
            return result.fail(f"HasteConv '{conv.name}' is added to itself")
        if len(conv.inputs) > Z:
            return result.fail(f"HasteConv '{conv.name}' has a residual already")
        if not self._dims.same_shape(z, conv_out):
            return result.fail(f"what is added to HasteConv '{conv.name}' may have another shape")
        if self._is_later_candidate(z, conv):
            return result.fail(f"the residual goes into the later HasteConv, not into '{conv.name}'")
        return result

    def rewrite(self, op: RewriterContext, z: ir.Value, conv_out: ir.Value) -> ir.Value:
        """Append the residual to the inputs."""
        conv = node_of(conv_out)
        return rebuilt(op, conv, [*conv.inputs, z])

    @staticmethod
    def _is_later_candidate(z: ir.Value, conv: ir.Node) -> bool:
        """Whether z comes from a HasteConv behind `conv` that can take `conv` as its own residual."""
        other = z.producer()
        if other is None or other.op_type != CONV or other.graph is not conv.graph or len(z.uses()) != 1:
            return False
        if z.is_graph_output() or len(other.inputs) > Z or other.attributes.get_string("activation", "") != "":
            return False
        graph = conv.graph
        assert graph is not None
        return next(node for node in graph if node is conv or node is other) is conv


def fuse_residual_rules(dims: Dims) -> list[RewriteRule]:
    """Both operators in both orders of operands."""
    return [
        FuseResidual(dims, op_type, residual_first=first).as_rule()
        for op_type in ("Add", "Sum")
        for first in (False, True)
    ]
