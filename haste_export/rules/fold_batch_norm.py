"""BatchNormalization behind a Conv becomes part of the Conv."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext

from haste_export.constants import Constants
from haste_export.rules.base import Rule, node_of
from haste_export.rules.conv_scaling import check_foldable, scaled_conv

_DEFAULT_EPSILON = 1e-5


class FoldBatchNorm(Rule):
    """BatchNormalization(Conv(x)) -> Conv(x), in inference mode and with constant parameters."""

    def __init__(self, constants: Constants) -> None:
        super().__init__()
        self._constants = constants

    def pattern(self, op: Any, x: Any) -> Any:
        """The normalisation of a convolution that nothing else reads."""
        conv = op.Conv(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["conv_out"])
        return op.BatchNormalization(
            conv, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["normal_out"]
        )

    def check(self, context: Any, x: ir.Value, conv_out: ir.Value, normal_out: ir.Value) -> MatchResult:
        """Refuse training mode, and parameters that are not constant."""
        del context, x
        conv, normal = node_of(conv_out), node_of(normal_out)
        result = check_foldable(self._constants, conv)
        if not result:
            return result
        if normal.attributes.get_int("training_mode", 0) != 0 or any(out.uses() for out in normal.outputs[1:]):
            return result.fail(f"BatchNormalization '{normal.name}' is in training mode")
        if normal.attributes.get_int("spatial", 1) != 1:
            return result.fail(f"BatchNormalization '{normal.name}' normalises every pixel by itself")
        if any(self._constants.tensor(value) is None for value in normal.inputs[1:5]):
            return result.fail(f"BatchNormalization '{normal.name}' has parameters computed at run time")
        return result

    def rewrite(self, op: RewriterContext, x: ir.Value, conv_out: ir.Value, normal_out: ir.Value) -> ir.Value:
        """Scale the filters by gamma / sqrt(variance + epsilon)."""
        del x
        conv, normal = node_of(conv_out), node_of(normal_out)
        tensors = [self._constants.tensor(value) for value in normal.inputs[1:5]]
        gamma, beta, mean, variance = (tensor.numpy().astype(np.float64) for tensor in tensors if tensor is not None)
        epsilon = normal.attributes.get_float("epsilon", _DEFAULT_EPSILON)
        scale = gamma / np.sqrt(variance + epsilon)
        return scaled_conv(op, self._constants, conv, scale, beta - mean * scale, f"{normal_out.name}")
