"""Copies of a compressed model in which every layer is steered on its own, for looking at one layer at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from haste_export import contract
from haste_export.evaluate.stats import haste_convs
from haste_export.instrument import instrument
from haste_export.plan import LayerSetting

PREFIX = "haste_layer/"
"""Inputs are called haste_layer/NAME/hyperplanes, haste_layer/NAME/tau where τ is steered, and
haste_layer/NAME/correction in a `correctable` model."""

Corrections = Mapping[str, npt.NDArray[np.float32]]
"""Layer name -> [2, M]: input A of HasteConv."""


def per_layer(compressed: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which each HasteConv has its own input for L, and for τ if it had one; all default to dense.

    Raises ValueError when the model has no HasteConv in its main graph.
    """
    model = onnx.ModelProto()
    model.CopyFrom(compressed)
    names = [node.name for node in haste_convs(model)]
    if not names:
        raise ValueError("the model has no HasteConv to steer")
    for node in haste_convs(model):
        _steer(model.graph, node, contract.L, f"{PREFIX}{node.name}/hyperplanes", np.array(0, np.int64))
        if len(node.input) > contract.T:
            _steer(model.graph, node, contract.T, f"{PREFIX}{node.name}/tau", np.array(0, np.float32))
    return model


def correctable(steered: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a `per_layer` model in which each HasteConv has an input for its correction too, neutral by default."""
    model = onnx.ModelProto()
    model.CopyFrom(steered)
    values = {name: f"{PREFIX}{name}/correction" for name in neutral_corrections(model)}
    for name, neutral in neutral_corrections(model).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(neutral, values[name]))
        model.graph.input.append(helper.make_tensor_value_info(values[name], TensorProto.FLOAT, neutral.shape))
    pass_corrections(model, values)
    return model


def neutral_corrections(compressed: onnx.ModelProto) -> dict[str, npt.NDArray[np.float32]]:
    """Corrections that change nothing: gain 1, and the layer's own bias."""
    constants = {tensor.name: tensor for tensor in compressed.graph.initializer}
    biases = {
        node.name: onnx.numpy_helper.to_array(constants[node.input[contract.B]]) for node in haste_convs(compressed)
    }
    return {name: np.stack([np.ones_like(bias), bias]) for name, bias in biases.items()}


def pass_corrections(model: onnx.ModelProto, values: Mapping[str, str]) -> None:
    """Give every HasteConv of the main graph the value that `values` names by layer as its correction, in place.

    Nodes that lack a residual or a τ get a scalar zero for it. The local function gets the formal inputs; its exact
    body uses none of them.
    """
    zero = "haste_correction/zero"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.float32), zero))
    for node in haste_convs(model):
        node.input.extend([zero] * (contract.A - len(node.input)))
        node.input.append(values[node.name])
    for function in model.functions:
        if function.domain == contract.DOMAIN and function.name == contract.CONV:
            function.input.extend(["Z", "T", "A"][len(function.input) - contract.Z :])


def feeds(
    settings: Mapping[str, LayerSetting], inputs: frozenset[str], corrections: Corrections | None = None
) -> dict[str, npt.NDArray[Any]]:
    """What to feed a `per_layer` model, of whose inputs `inputs` are the names; layers not named stay dense.

    `corrections` are for a `correctable` model.
    """
    values: dict[str, npt.NDArray[Any]] = {
        f"{PREFIX}{name}/correction": correction for name, correction in (corrections or {}).items()
    }
    for name, setting in settings.items():
        values[f"{PREFIX}{name}/hyperplanes"] = np.array(setting.hyperplanes, np.int64)
        if (tau := f"{PREFIX}{name}/tau") in inputs:
            values[tau] = np.array(setting.tau, np.float32)
    return values


def with_stock_inputs(compressed: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that measures each layer's own error: every HasteConv runs twice on the same, exact input.

    The one whose output goes on is dense, so all inputs are stock's. Its twin is steered as in `per_layer`, and the
    outputs `haste_stats/NAME` are the twin's. Two further outputs per layer are sums over the batch: `haste_error/NAME`
    of (twin − exact)², `haste_energy/NAME` of exact².
    """
    model = per_layer(instrument(compressed))
    graph = model.graph
    dense = "haste_layer/dense"
    graph.initializer.append(helper.make_tensor(dense, TensorProto.INT64, [], [0]))
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        if node.domain != contract.DOMAIN or node.op_type != contract.CONV:
            continue
        twin = graph.node.add()
        twin.CopyFrom(node)
        twin.name = f"{node.name}/twin"
        twin.output[0] = f"{PREFIX}{node.name}/twin"
        exact = graph.node[-2]
        exact.output[1] = f"{PREFIX}{node.name}/dense_statistics"
        exact.input[contract.L] = dense
        graph.node.extend(_squares(node.name, exact.output[0], twin.output[0]))
        for kind in ("error", "energy"):
            graph.output.append(helper.make_tensor_value_info(f"haste_{kind}/{node.name}", TensorProto.FLOAT, []))
    return model


def _squares(name: str, exact: str, twin: str) -> list[onnx.NodeProto]:
    difference = f"{PREFIX}{name}/difference"
    return [
        helper.make_node("Sub", [twin, exact], [difference], f"{name}/difference"),
        helper.make_node("ReduceSumSquare", [difference], [f"haste_error/{name}"], f"{name}/error", keepdims=0),
        helper.make_node("ReduceSumSquare", [exact], [f"haste_energy/{name}"], f"{name}/energy", keepdims=0),
    ]


def _steer(graph: onnx.GraphProto, node: onnx.NodeProto, position: int, name: str, default: npt.NDArray[Any]) -> None:
    """Input `position` of the node becomes an overridable initializer of its own."""
    node.input[position] = name
    tensor = onnx.numpy_helper.from_array(default, name)
    graph.initializer.append(tensor)
    graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, []))
