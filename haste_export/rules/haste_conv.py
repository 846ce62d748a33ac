"""What the fusion rules share: looking at a HasteConv and building its successor."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext

from haste_export.contract import CONV, DOMAIN
from haste_export.rules.base import call, node_of


def check_no_activation(conv_out: ir.Value) -> MatchResult:
    """Whether the HasteConv behind `conv_out` is still without an activation."""
    conv = node_of(conv_out)
    result = MatchResult()
    if conv.attributes.get_string("activation", ""):
        return result.fail(f"HasteConv '{conv.name}' has an activation already")
    return result


def activated(op: RewriterContext, conv_out: ir.Value, activation: str, params: Sequence[float] = ()) -> ir.Value:
    """The same HasteConv, with an activation."""
    conv = node_of(conv_out)
    changes = [ir.AttrString("activation", activation), ir.AttrFloat32s("activation_params", list(params))]
    return rebuilt(op, conv, conv.inputs, changes)


def rebuilt(
    op: RewriterContext, conv: ir.Node, inputs: Sequence[ir.Value | None], changes: Sequence[ir.Attr] = ()
) -> ir.Value:
    """A HasteConv with the name and attributes of `conv`, other inputs and some attributes changed."""
    attributes = {**conv.attributes, **{change.name: change for change in changes}}
    return call(op, CONV, *inputs, _domain=DOMAIN, _name=conv.name, **attributes)
