"""Attaches what a running program can change: the number of hyperplanes, or a level of per-layer settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from haste_export.contract import CONV, DOMAIN, LEVEL, STEERING_HYPERPLANES, STEERING_LEVEL, STEERING_TAU, L, T, Z
from haste_export.errors import UnsupportedModelError
from haste_export.graph import Names, add_initializer, nodes_of
from haste_export.options import Options
from haste_export.plan import LayerSetting
from haste_export.report import Report


class AttachSteering(ir.passes.InPlacePass):
    """Gives every HasteConv its inputs L, and Z and T where the model needs them.

    The steering value is an initializer that is also a graph input, so it need not be fed. Nodes without a residual
    pass a scalar zero once any node has one, because the local function's formal inputs are the same for all nodes.
    The report gets the name of the steering value and the number of levels.
    """

    def __init__(self, options: Options, report: Report) -> None:
        super().__init__()
        self._options = options
        self._report = report

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Raise UnsupportedModelError if the model uses the steering input's name for something else."""
        convs = list(nodes_of(model, DOMAIN, CONV))
        if not convs:
            return ir.passes.PassResult(model, modified=False)
        names = Names(model)
        plan, graph = self._options.plan, model.graph
        level = None
        if plan.levels:
            level = _overridable(graph, names, STEERING_LEVEL, np.array(plan.default_level, np.int64))
            self._report.steering, self._report.levels = STEERING_LEVEL, len(plan.levels) + 1
            for conv in convs:
                counts = np.array([setting.hyperplanes for setting in self._settings(conv)], np.int64)
                conv.replace_input_with(L, _at_level(graph, names, level, counts, f"{conv.name}/level_hyperplanes"))
        else:
            count = _overridable(graph, names, STEERING_HYPERPLANES, np.array(self._options.hyperplanes, np.int64))
            self._report.steering = STEERING_HYPERPLANES
            for conv in convs:
                conv.replace_input_with(L, count)
        bounded = self._options.tau > 0 or plan.bounds_error
        if bounded or any(len(conv.inputs) > Z for conv in convs):
            self._fill_residuals(graph, names, convs)
        if bounded:
            self._attach_tau(graph, names, convs, level)
        return ir.passes.PassResult(model, modified=True)

    def _settings(self, conv: ir.Node) -> list[LayerSetting]:
        """The layer's setting at levels 0 (dense), 1, 2, ..."""
        options = self._options
        default = LayerSetting(options.hyperplanes, options.tau)
        return [LayerSetting(0), *(level.get(str(conv.name), default) for level in options.plan.levels)]

    @staticmethod
    def _fill_residuals(graph: ir.Graph, names: Names, convs: Sequence[ir.Node]) -> None:
        zero = add_initializer(graph, names.fresh("haste_no_residual"), np.array(0, np.float32))
        for conv in convs:
            if len(conv.inputs) <= Z:
                conv.resize_inputs(Z + 1)
                conv.replace_input_with(Z, zero)

    def _attach_tau(self, graph: ir.Graph, names: Names, convs: Sequence[ir.Node], level: ir.Value | None) -> None:
        shared = None
        if level is None:
            shared = _overridable(graph, names, STEERING_TAU, np.array(self._options.tau, np.float32))
        for conv in convs:
            conv.resize_inputs(T + 1)
            value = shared
            if value is None:
                assert level is not None
                bounds = np.array([setting.tau for setting in self._settings(conv)], np.float32)
                value = _at_level(graph, names, level, bounds, f"{conv.name}/level_tau")
            conv.replace_input_with(T, value)


def _overridable(graph: ir.Graph, names: Names, name: str, default: np.ndarray) -> ir.Value:
    if names.fresh(name) != name:
        raise UnsupportedModelError(f"the model has a value '{name}' already, which is the name of the steering input")
    value = add_initializer(graph, name, default)
    graph.inputs.append(value)
    return value


def _at_level(graph: ir.Graph, names: Names, level: ir.Value, table: np.ndarray, base: str) -> ir.Value:
    """table[level], computed at the front of the main graph so that nodes of subgraphs can read it too."""
    values = add_initializer(graph, names.fresh(f"{base}_table"), table)
    out = ir.Value(name=names.fresh(base), type=ir.TensorType(values.dtype or ir.DataType.INT64), shape=ir.Shape([]))
    graph.insert_before(graph[0], ir.Node(DOMAIN, LEVEL, [level, values], outputs=[out], name=out.name))
    return out
