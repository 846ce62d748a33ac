"""x * sigmoid(x) behind a HasteConv becomes its Silu activation."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext

from haste_export.contract import CONV, DOMAIN
from haste_export.rules.base import Rule
from haste_export.rules.haste_conv import activated, check_no_activation


class FuseSilu(Rule):
    """Mul(c, Sigmoid(c)) with c = HasteConv(x) -> HasteConv(x, activation=Silu)."""

    def pattern(self, op: Any) -> Any:
        """The product of a HasteConv and its sigmoid; nothing else reads either."""
        conv = getattr(op, CONV)(
            _domain=DOMAIN, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["conv_out"]
        )
        return op.Mul(conv, op.Sigmoid(conv))

    def check(self, context: Any, conv_out: ir.Value) -> MatchResult:
        """Refuse a second activation."""
        del context
        return check_no_activation(conv_out)

    def rewrite(self, op: RewriterContext, conv_out: ir.Value) -> ir.Value:
        """Set the activation."""
        return activated(op, conv_out, "Silu")
