"""Puts the bodies of local functions in place of their calls, because only Convs of the graph can be rewritten."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, NameFixPass

from haste_export.errors import UnsupportedModelError
from haste_export.graph import every_node

_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


class InlineFunctions(ir.passes.InPlacePass):
    """Inlines the local functions of a model that has a Conv in one of them, and changes no other model.

    All of them, and not only those with a Conv: what can be folded into it or fused with it is often in one of its own.
    A function stays for which `obstacles` has a reason.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Raise UnsupportedModelError if functions call themselves, directly or through others."""
        stays = obstacles(model)
        if all(function.identifier() in stays for function in convs_by_function(model)):
            return ir.passes.PassResult(model, modified=False)
        for node in every_node(model):
            function = model.functions.get(node.op_identifier())
            if function is not None:
                _complete(node, function)
        for function in model.functions.values():
            for node in function.all_nodes():
                node.name = node.name or node.op_type
        try:
            InlinePass(lambda function: function.identifier() not in stays)(model)
        except ir.passes.PreconditionError as error:
            raise UnsupportedModelError("the model's local functions call each other in a circle") from error
        # What a function computes may be called like a value of a graph inside a node.
        NameFixPass()(model)
        return ir.passes.PassResult(model, modified=True)


def convs_by_function(model: ir.Model) -> dict[ir.Function, list[ir.Node]]:
    """The local functions that have Convs in their bodies, with these."""
    found = {
        function: [node for node in function.all_nodes() if _is_conv(node)] for function in model.functions.values()
    }
    return {function: convs for function, convs in found.items() if convs}


def obstacles(model: ir.Model) -> dict[ir.OperatorIdentifier, str]:
    """The local functions that cannot be inlined, each with the clause that says why."""
    reasons = {
        identifier: reason
        for identifier, function in model.functions.items()
        if (reason := _own_obstacle(function, model)) is not None
    }
    # What stays is not of the model's opset, so nothing goes into it that is.
    waiting = list(reasons)
    while waiting:
        caller = model.functions[waiting.pop()]
        for node in caller.all_nodes():
            called = node.op_identifier()
            if called in model.functions and called not in reasons:
                reasons[called] = f"is called by '{caller.name}', which cannot be inlined"
                waiting.append(called)
    return reasons


def _own_obstacle(function: ir.Function, model: ir.Model) -> str | None:
    versions = {_domain(domain): version for domain, version in model.graph.opset_imports.items()}
    for domain, version in function.opset_imports.items():
        own = versions.get(_domain(domain), version)
        if own != version:
            of = f" of '{domain}'" if _domain(domain) else ""
            return f"uses opset {version}{of}, and the model uses {own}"
    if any(attribute.type in _GRAPHS for node in function.all_nodes() for attribute in _references(node)):
        return "takes a graph as an attribute"
    outputs = list(function.outputs)
    if len(set(outputs)) < len(outputs) or set(outputs) & set(function.inputs):
        return "returns a value twice, or one that it was given"
    return None


def _references(node: ir.Node) -> Iterator[ir.Attr]:
    """Attributes that stand for one of the function's."""
    return (attribute for attribute in node.attributes.values() if attribute.is_ref())


def _complete(call: ir.Node, function: ir.Function) -> None:
    """Give a call all outputs of its function; nothing reads those that it left out."""
    if len(call.outputs) < len(function.outputs):
        call.resize_outputs(len(function.outputs))


def _is_conv(node: ir.Node) -> bool:
    return node.op_type == "Conv" and _domain(node.domain) == ""


def _domain(name: str) -> str:
    """The default domain by one of its two spellings."""
    return "" if name == "ai.onnx" else name
