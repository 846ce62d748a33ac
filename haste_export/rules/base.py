"""What all rules share."""

from __future__ import annotations

from typing import Any, cast

import onnx_ir as ir
from onnxscript.rewriter import RewriterContext, RewriteRule, RewriteRuleClassBase


class Rule(RewriteRuleClassBase):
    """A pattern, its check and its replacement."""

    def as_rule(self) -> RewriteRule:
        """The form that a RewriteRuleSet takes. Without a name, which the rewriter would write into every new node."""
        return RewriteRule(self.pattern, self.rewrite, self.check, remove_nodes=self.remove_nodes)


def node_of(value: ir.Value) -> ir.Node:
    """The node that a pattern matched, by its output."""
    node = value.producer()
    assert node is not None
    return node


def call(op: RewriterContext, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
    """Add a node with one output through the rewriter's builder; `_domain` and `_name` say what they say."""
    return cast(ir.Value, getattr(op, op_type)(*inputs, **attributes))
