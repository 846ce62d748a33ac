"""x * hardsigmoid(x), the form of HardSwish before opset 14, behind a HasteConv becomes its activation."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext

from haste_export.contract import CONV, DOMAIN
from haste_export.rules.base import Rule, node_of
from haste_export.rules.haste_conv import activated, check_no_activation


class FuseHardSwish(Rule):
    """Mul(c, HardSigmoid(c, 1/6, 1/2)) with c = HasteConv(x) -> HasteConv(x, activation=HardSwish)."""

    def pattern(self, op: Any) -> Any:
        """The product of a HasteConv and its hard sigmoid; nothing else reads either."""
        conv = getattr(op, CONV)(
            _domain=DOMAIN, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["conv_out"]
        )
        return op.Mul(conv, op.HardSigmoid(conv, _allow_other_attributes=True, _outputs=["gate"]))

    def check(self, context: Any, conv_out: ir.Value, gate: ir.Value) -> MatchResult:
        """Refuse a second activation, and a hard sigmoid of another slope than HardSwish has."""
        del context
        node = node_of(gate)
        slope = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
        if not (math.isclose(slope[0], 1 / 6, rel_tol=1e-6) and math.isclose(slope[1], 0.5, rel_tol=1e-6)):
            return MatchResult().fail(f"HardSigmoid '{node.name}' is not the gate of a HardSwish")
        return check_no_activation(conv_out)

    def rewrite(self, op: RewriterContext, conv_out: ir.Value, gate: ir.Value) -> ir.Value:
        """Set the activation."""
        del gate
        return activated(op, conv_out, "HardSwish")
