"""An activation of one operator behind a HasteConv becomes part of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext, RewriteRule

from haste_export.constants import Constants
from haste_export.contract import CONV, DOMAIN
from haste_export.rules.base import Rule, node_of
from haste_export.rules.haste_conv import activated, check_no_activation

_OP_TYPES = ("Relu", "LeakyRelu", "Clip", "HardSwish", "Sigmoid")
_FLOAT_MAX = float(np.finfo(np.float32).max)


class FuseActivation(Rule):
    """act(HasteConv(x)) -> HasteConv(x, activation=act)."""

    def __init__(self, constants: Constants, op_type: str) -> None:
        super().__init__(name=f"FuseActivation({op_type})")
        self._constants = constants
        self._op_type = op_type

    def pattern(self, op: Any) -> Any:
        """The activation of a HasteConv that nothing else reads."""
        conv = getattr(op, CONV)(
            _domain=DOMAIN, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["conv_out"]
        )
        return getattr(op, self._op_type)(
            conv, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["act_out"]
        )

    def check(self, context: Any, conv_out: ir.Value, act_out: ir.Value) -> MatchResult:
        """Refuse a second activation, and bounds that are not constant."""
        del context
        result = check_no_activation(conv_out)
        act = node_of(act_out)
        if result and self._params(act) is None:
            return result.fail(f"{act.op_type} '{act.name}' has bounds computed at run time")
        return result

    def rewrite(self, op: RewriterContext, conv_out: ir.Value, act_out: ir.Value) -> ir.Value:
        """Set the activation and its parameters."""
        act = node_of(act_out)
        params = self._params(act)
        assert params is not None
        return activated(op, conv_out, self._op_type, params)

    def _params(self, act: ir.Node) -> list[float] | None:
        if act.op_type == "LeakyRelu":
            return [act.attributes.get_float("alpha", 0.01)]
        return self._bounds(act) if act.op_type == "Clip" else []

    def _bounds(self, clip: ir.Node) -> list[float] | None:
        """[min, max] of a Clip: attributes up to opset 10, inputs from 11 on."""
        bounds = [clip.attributes.get_float("min", -_FLOAT_MAX), clip.attributes.get_float("max", _FLOAT_MAX)]
        for place, value in enumerate(clip.inputs[1:3]):
            if value is not None:
                bound = self._constants.scalar(value)
                if bound is None:
                    return None
                bounds[place] = bound
        return bounds if bounds[0] <= bounds[1] else None


def fuse_activation_rules(constants: Constants) -> list[RewriteRule]:
    """One rule per operator."""
    return [FuseActivation(constants, op_type).as_rule() for op_type in _OP_TYPES]
