"""Folds a per-channel scale and shift behind a Conv into its weights and bias; shared by the folding rules."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext

from haste_export.constants import Constants
from haste_export.rules.base import call

FloatArray = npt.NDArray[np.floating]


def check_foldable(constants: Constants, conv: ir.Node) -> MatchResult:
    """Whether the weights and the bias of `conv` are constant, so that they can be scaled."""
    result = MatchResult()
    for position, what in ((1, "weights"), (2, "bias")):
        value = conv.inputs[position] if len(conv.inputs) > position else None
        if value is not None and constants.tensor(value) is None:
            return result.fail(f"the {what} of Conv '{conv.name}' are computed at run time")
    return result


def scaled_conv(
    op: RewriterContext, constants: Constants, conv: ir.Node, scale: FloatArray, shift: FloatArray, name: str
) -> ir.Value:
    """A Conv that computes scale * conv(x) + shift.

    Args:
        op: the rewriter's builder.
        constants: where the weights are looked up.
        conv: the Conv to replace; its weights [M, ...] and bias [M] are constant.
        scale: [M] or [1].
        shift: [M] or [1].
        name: prefix of the new constants, unique in the model.
    """
    weights = constants.tensor(conv.inputs[1])
    assert weights is not None, "check_foldable comes first"
    filters = weights.numpy()
    dtype, count = filters.dtype, filters.shape[0]
    bias_tensor = constants.tensor(conv.inputs[2]) if len(conv.inputs) > 2 else None
    bias = np.zeros(count) if bias_tensor is None else bias_tensor.numpy().astype(np.float64)
    # In float64, so that several folds in a row round once each and no more.
    wide_scale = np.broadcast_to(scale.astype(np.float64), count)
    new_filters = filters.astype(np.float64) * wide_scale.reshape(-1, *[1] * (filters.ndim - 1))
    new_bias = bias * wide_scale + shift.astype(np.float64)
    return call(
        op,
        "Conv",
        conv.inputs[0],
        op.initializer(ir.tensor(new_filters.astype(dtype)), name=f"{name}/folded_weight"),
        op.initializer(ir.tensor(new_bias.astype(dtype)), name=f"{name}/folded_bias"),
        _name=conv.name,
        **conv.attributes,
    )
