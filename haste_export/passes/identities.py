"""Removes Identity nodes, but for those that a graph needs in order to have its own outputs."""

from __future__ import annotations

import onnx_ir as ir

from haste_export.graph import every_node


class RemoveIdentities(ir.passes.InPlacePass):
    """Lets those who read y = Identity(x) read x; an output of a graph keeps its name.

    An output of a branch or a loop body must be made inside it, so an Identity that hands out a captured value stays.
    So do those that hand out an input, a constant, or what is an output already: a value has one name.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Change the graphs, with their subgraphs, and the local functions."""
        removed = [_remove(node) for node in every_node(model) if _is_identity(node)]
        return ir.passes.PassResult(model, modified=any(removed))


def _is_identity(node: ir.Node) -> bool:
    return node.op_type == "Identity" and node.domain == "" and len(node.inputs) == len(node.outputs) == 1


def _remove(node: ir.Node) -> bool:
    """Remove the node unless it is needed, which depends on what was removed before it."""
    source, target, graph = node.inputs[0], node.outputs[0], node.graph
    if source is None or graph is None:
        return False
    if target.is_graph_output():
        producer = source.producer()
        if producer is None or producer.graph is not graph or source.is_graph_output():
            return False
    source.shape = _known(source.shape, target.shape)
    source.type = source.type or target.type
    renamed = target.name if target.is_graph_output() else None
    target.replace_all_uses_with(source, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    source.name = renamed or source.name
    return True


def _known(a: ir.Shape | None, b: ir.Shape | None) -> ir.Shape | None:
    """What two descriptions of one shape say together: numbers before names, names before nothing."""
    if a is None or b is None or len(a) != len(b):
        return a or b
    pairs = zip(a, b, strict=True)
    return ir.Shape([
        x if isinstance(x, int) or (not isinstance(y, int) and x.value is not None) else y for x, y in pairs
    ])  # fmt: skip
