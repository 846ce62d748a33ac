"""A per-channel Mul, Div, Add or Sub behind a Conv becomes part of the Conv; old exporters write batch norm so.

Only what stands *behind* a Conv folds: a scale in front of a Relu and a Conv does not commute with the Relu, and one in
front of a padded Conv would have to scale the padding too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext, RewriteRule

from haste_export.constants import Constants
from haste_export.rules.base import Rule, node_of
from haste_export.rules.conv_scaling import check_foldable, scaled_conv


class FoldAffine(Rule):
    """op(Conv(x), c) -> Conv(x) for Mul, Div, Add and Sub, where c holds one constant per channel, or one in all."""

    def __init__(self, constants: Constants, op_type: str, *, constant_first: bool) -> None:
        super().__init__(name=f"FoldAffine({op_type})")
        self._constants = constants
        self._op_type = op_type
        self._constant_first = constant_first

    def pattern(self, op: Any, x: Any, c: Any) -> Any:
        """The operation on a convolution that nothing else reads."""
        conv = op.Conv(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["conv_out"])
        operands = (c, conv) if self._constant_first else (conv, c)
        return getattr(op, self._op_type)(*operands, _allow_other_attributes=True, _outputs=["affine_out"])

    def check(self, context: Any, x: ir.Value, c: ir.Value, conv_out: ir.Value, affine_out: ir.Value) -> MatchResult:
        """Refuse constants that differ between pixels or images, or that are not constant."""
        del context, x
        conv, affine = node_of(conv_out), node_of(affine_out)
        result = check_foldable(self._constants, conv)
        if not result:
            return result
        if affine.attributes:
            return result.fail(f"{affine.op_type} '{affine.name}' uses the broadcasting of opset 6 and older")
        if self._per_channel(conv, c) is None:
            return result.fail(f"{affine.op_type} '{affine.name}' is not by one constant per channel")
        return result

    def rewrite(
        self, op: RewriterContext, x: ir.Value, c: ir.Value, conv_out: ir.Value, affine_out: ir.Value
    ) -> ir.Value:
        """Scale or shift the filters and the bias."""
        del x
        conv = node_of(conv_out)
        constant = self._per_channel(conv, c)
        assert constant is not None
        scale, shift = {
            "Mul": (constant, np.zeros(1)),
            "Div": (1 / constant, np.zeros(1)),
            "Add": (np.ones(1), constant),
            "Sub": (np.ones(1), -constant),
        }[self._op_type]
        return scaled_conv(op, self._constants, conv, scale, shift, f"{affine_out.name}")

    def _per_channel(self, conv: ir.Node, value: ir.Value) -> npt.NDArray[np.float64] | None:
        """`value` as float64 [M] or [1], or None if it is anything else. A zero divisor is refused too."""
        weights, tensor = self._constants.tensor(conv.inputs[1]), self._constants.tensor(value)
        if weights is None or tensor is None or len(tensor.shape) > len(weights.shape):
            return None
        data = tensor.numpy()
        lead = [1] * (len(weights.shape) - data.ndim)
        shape = [*lead, *data.shape]
        others = shape[:1] + shape[2:]
        if any(dim != 1 for dim in others) or shape[1] not in (1, weights.shape[0]):
            return None
        flat = data.reshape(-1).astype(np.float64)
        return None if self._op_type == "Div" and not flat.all() else flat


def fold_affine_rules(constants: Constants) -> list[RewriteRule]:
    """All operations, in both orders of operands where that has the same meaning."""
    behind = [FoldAffine(constants, name, constant_first=False).as_rule() for name in ("Mul", "Add", "Div", "Sub")]
    swapped = [FoldAffine(constants, name, constant_first=True).as_rule() for name in ("Mul", "Add")]
    return [*behind, *swapped]
