"""Brings a model into the form that the other passes expect: named nodes, one spelling of the default domain."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from haste_export.errors import OptionError
from haste_export.graph import values_of
from haste_export.options import Options

_FIRST_IR_WITH_FREE_INITIALIZERS = 4


class Prepare(ir.passes.InPlacePass):
    """Names nodes, normalises domains, forgets sizes that are none, and applies `input_shapes`."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._options = options

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Raise OptionError if `input_shapes` names no input or contradicts its rank."""
        _normalise_domains(model)
        if model.ir_version < _FIRST_IR_WITH_FREE_INITIALIZERS:
            # Old models had to list every initializer as an input; nobody can have meant to feed them.
            RemoveInitializersFromInputsPass()(model)
            model.ir_version = _FIRST_IR_WITH_FREE_INITIALIZERS
        _name_nodes(model)
        _open_negative_sizes(model)
        _fix_input_shapes(model, self._options)
        return ir.passes.PassResult(model, modified=True)


def _normalise_domains(model: ir.Model) -> None:
    imports = model.graph.opset_imports
    if "ai.onnx" in imports:
        imports.setdefault("", imports.pop("ai.onnx"))
    for graph in model.graphs():
        for node in graph:
            if node.domain == "ai.onnx":
                node.domain = ""


def _name_nodes(model: ir.Model) -> None:
    """Give every node a name of its own; names that are unique already stay."""
    seen: set[str] = set()
    nodes = [node for graph in model.graphs() for node in graph]
    taken = {node.name for node in nodes if node.name}
    counts: dict[str, int] = {}
    for node in nodes:
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        base = node.name or node.op_type
        while True:
            counts[base] = counts.get(base, -1) + 1
            name = f"{base}_{counts[base]}"
            if name not in taken:
                break
        node.name = name
        taken.add(name)
        seen.add(name)


def _open_negative_sizes(model: ir.Model) -> None:
    """Some exporters write -1 for a size that is open; taken for a number, it makes sizes equal that may differ."""
    for graph in model.graphs():
        for value in values_of(graph):
            if value.shape is not None and any(isinstance(dim, int) and dim < 0 for dim in value.shape):
                value.shape = ir.Shape([None if isinstance(dim, int) and dim < 0 else dim for dim in value.shape])


def _fix_input_shapes(model: ir.Model, options: Options) -> None:
    if not options.input_shapes:
        return
    inputs = {value.name: value for value in model.graph.inputs}
    for name, shape in options.input_shapes.items():
        if name not in inputs:
            raise OptionError(f"the model has no input '{name}'; its inputs are {', '.join(map(repr, inputs))}")
        old = inputs[name].shape
        fits = old is None or (
            len(old) == len(shape)
            and all(not isinstance(dim, int) or dim == new for dim, new in zip(old, shape, strict=True))
        )
        if not fits:
            raise OptionError(f"input '{name}' has the shape {old}, which {list(shape)} contradicts")
        inputs[name].shape = ir.Shape(shape)
    # What the model says about its activations was inferred from the old shapes.
    for graph in model.graphs():
        for node in graph:
            for value in node.outputs:
                value.shape = None
