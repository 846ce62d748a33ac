"""Cuts single convolutions out of a model, with the inputs that they really get."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from haste_export.bench.inputs import Feeds
from haste_export.speed.timing import open_session

_ACTIVATIONS = frozenset({"Clip", "HardSwish", "LeakyRelu", "Relu", "Sigmoid"})


@dataclass(frozen=True)
class LoneLayer:
    """One Conv as a model, with the activation behind it, and its input."""

    name: str
    model: onnx.ModelProto
    feeds: Feeds


def lone_layers(model: onnx.ModelProto, names: Sequence[str], feeds: Feeds) -> Iterator[LoneLayer]:
    """The Convs of the main graph with these names, in the order of the model.

    Args:
        model: before any rewriting; runs in stock ONNX Runtime.
        names: of the nodes; those inside branches or loops are passed over, since nobody can say what they read.
        feeds: input of the model, which is run once.
    """
    wanted = set(names)
    convs = [node for node in model.graph.node if node.op_type == "Conv" and node.name in wanted]
    inputs = _values(model, list(dict.fromkeys(conv.input[0] for conv in convs)), feeds)
    cut = _Cutter(model)
    for conv in convs:
        x = inputs[conv.input[0]]
        yield LoneLayer(conv.name, cut.model_of(conv, x.shape), {conv.input[0]: x})


def _values(model: onnx.ModelProto, names: Sequence[str], feeds: Feeds) -> dict[str, npt.NDArray[np.float32]]:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    inner = [name for name in names if name not in feeds]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inner)
    values = open_session(probe, 1).run(inner, feeds) if inner else []
    return {**{name: feeds[name] for name in names if name in feeds}, **dict(zip(inner, values, strict=True))}


class _Cutter:
    """Finds what a Conv needs beside its input."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)
        self._outputs = {value.name for value in model.graph.output}

    def model_of(self, conv: onnx.NodeProto, shape: Sequence[int]) -> onnx.ModelProto:
        """The Conv, its activation, and what computes its constants; input shape [N,C,H,W]."""
        nodes = [conv]
        users = self._users.get(conv.output[0], [])
        if len(users) == 1 and users[0].op_type in _ACTIVATIONS and conv.output[0] not in self._outputs:
            nodes.append(users[0])
        constants: dict[str, onnx.TensorProto] = {}
        before: list[onnx.NodeProto] = []
        known = {conv.input[0], conv.output[0]}
        for node in nodes:
            for name in node.input:
                self._collect(name, known, constants, before)
        graph = helper.make_graph(
            [*before, *nodes],
            "layer",
            [helper.make_tensor_value_info(conv.input[0], TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
            list(constants.values()),
        )
        return helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)

    def _collect(
        self, name: str, known: set[str], constants: dict[str, onnx.TensorProto], nodes: list[onnx.NodeProto]
    ) -> None:
        if not name or name in known:
            return
        known.add(name)
        if name in self._initializers:
            constants[name] = self._initializers[name]
        elif name in self._producers:
            node = self._producers[name]
            for needed in node.input:
                self._collect(needed, known, constants, nodes)
            nodes.append(node)
            known.update(node.output)
