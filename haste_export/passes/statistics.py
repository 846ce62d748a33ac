"""Lets a compressed model say what its layers did: their statistics become outputs of the graph."""

from __future__ import annotations

import onnx_ir as ir

from haste_export.contract import CONV, DOMAIN, STATS_LENGTH, STATS_PREFIX
from haste_export.errors import UnsupportedModelError
from haste_export.graph import Names, nodes_of


class AddStatistics(ir.passes.InPlacePass):
    """Gives every HasteConv its output `stats`, float [8], and those of the main graph to the model as outputs.

    They are called `haste_stats/<node name>` and come after the model's own. A HasteConv inside an If or Loop body has
    the output too, because calls and local function must agree, but what it did may differ from one iteration to the
    next, so the model does not give it out. `haste_export.instrument` does the same to a finished model.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Raise UnsupportedModelError if the model uses the name of such an output for something else."""
        names, modified = Names(model), False
        for node in nodes_of(model, DOMAIN, CONV):
            name = f"{STATS_PREFIX}{node.name}"
            if names.fresh(name) != name:
                raise UnsupportedModelError(f"the model has a value '{name}' already, which is the name of statistics")
            node.resize_outputs(2)
            stats = node.outputs[1]
            stats.name, stats.type, stats.shape = name, ir.TensorType(ir.DataType.FLOAT), ir.Shape([STATS_LENGTH])
            if node.graph is model.graph:
                model.graph.outputs.append(stats)
            modified = True
        return ir.passes.PassResult(model, modified=modified)
