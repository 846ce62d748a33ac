"""A compressed model cut behind each of its HasteConvs, to send many batches through it one layer at a time.

A layer's correction follows from all samples' outputs at once, and the layers behind it must see it corrected. Going
through the model layer by layer, with the values that are alive kept for all batches, this takes a single pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

import runtime_ops
from haste_export import contract
from haste_export.evaluate import steer
from haste_export.evaluate.engine import native_session
from haste_export.evaluate.stats import attributes, haste_convs
from haste_export.plan import LayerSetting
from haste_export.reference import activate
from haste_export.subgraphs import inner_graphs

Array = npt.NDArray[Any]
Values = Mapping[str, Array]
"""What is alive between two stages, of one batch."""


@dataclass(frozen=True)
class Epilogue:
    """What follows a layer's convolution, taken out of its node.

    Attributes:
        bias: [M], which the convolution has added.
        residual: what is added then: the name of a value, a constant, or None.
        activation: and `params`, as in the node.
        output: name of what comes out.
    """

    bias: npt.NDArray[np.float32]
    residual: str | Array | None
    activation: str
    params: tuple[float, ...]
    output: str

    def apply(self, raw: Array, correction: Array | None, values: Values) -> Array:
        """The layer's output [N,M,H',W'] from its convolution's; `correction` is [2, M], or None for none."""
        sums = raw.astype(np.float64)
        if correction is not None:
            gain, shift = (row.astype(np.float64)[:, None, None] for row in correction)
            sums = gain * (sums - self.bias[:, None, None]) + shift
        if self.residual is not None:
            sums += values[self.residual] if isinstance(self.residual, str) else self.residual
        return activate(sums, self.activation, self.params).astype(np.float32)


class Stage:
    """The part of a model from behind one HasteConv through the next, which runs without its epilogue."""

    def __init__(
        self, name: str, epilogue: Epilogue, model: onnx.ModelProto, alive: frozenset[str], threads: int
    ) -> None:
        """A stage.

        Args:
            name: of the HasteConv.
            epilogue: of the HasteConv.
            model: gives the convolution's output first. What it takes from earlier stages has no type yet.
            alive: names of the values that are needed behind this stage.
            threads: of the session.
        """
        self.name, self.epilogue = name, epilogue
        self._model, self._alive, self._threads = model, alive, threads
        overridable = {tensor.name for tensor in model.graph.initializer}
        self._taken = [entry.name for entry in model.graph.input if entry.name not in overridable]
        self._session: runtime_ops.Session | None = None

    def run(self, values: Values, setting: LayerSetting) -> tuple[Array, dict[str, Array]]:
        """The convolution's output [N,M,H',W'], and all values that are there then.

        Raises NativeKernelsMissingError when the op library is not there.
        """
        taken = {name: values[name] for name in self._taken}
        if self._session is None:
            self._session = self._open(taken)
        inputs = frozenset(node.name for node in self._session.inference.get_overridable_initializers())
        raw, *others = self._session.run({**taken, **steer.feeds({self.name: setting}, inputs)})
        names = [output.name for output in self._model.graph.output[1:]]
        return raw, {**values, **dict(zip(names, others, strict=True))}

    def finish(self, raw: Array, correction: Array | None, values: Values) -> dict[str, Array]:
        """What is alive behind the stage: the layer's output, and what later stages take beside it."""
        everything = {**values, self.epilogue.output: self.epilogue.apply(raw, correction, values)}
        return {name: value for name, value in everything.items() if name in self._alive}

    def _open(self, taken: Values) -> runtime_ops.Session:
        for entry in self._model.graph.input:
            if entry.name in taken:
                kind = helper.np_dtype_to_tensor_dtype(taken[entry.name].dtype)
                entry.CopyFrom(helper.make_tensor_value_info(entry.name, kind, None))
        return native_session(self._model, self._threads)


def cut(compressed: onnx.ModelProto, threads: int = 0) -> list[Stage]:
    """The stages of a compressed model in the NCHW layout, without what none of its HasteConvs depends on.

    Raises ValueError when the model has no HasteConv in its main graph.
    """
    model = steer.per_layer(compressed)
    epilogues = {}
    for node in haste_convs(model):
        epilogues[node.name] = _epilogue(model, node)
        _bare(model.graph, node)
    stages: list[Stage] = []
    alive: set[str] = set()
    for part in reversed(_parts(model, epilogues)):
        epilogue = epilogues[part[-1].name]
        added = {epilogue.residual} if isinstance(epilogue.residual, str) else set()
        given = sorted({output for node in part[:-1] for output in node.output} & (alive | added))
        stage_model = _submodel(model, part, [part[-1].output[0], *given])
        stages.insert(0, Stage(part[-1].name, epilogue, stage_model, frozenset(alive), threads))
        alive |= added.union(*map(_reads, part))
    return stages


def _epilogue(model: onnx.ModelProto, node: onnx.NodeProto) -> Epilogue:
    values = attributes(node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    residual: str | Array | None = None
    if len(node.input) > contract.Z:
        residual = node.input[contract.Z]
        if residual in constants:
            constant = numpy_helper.to_array(constants[residual])
            residual = constant if constant.ndim else None  # a scalar stands for none
    bias = numpy_helper.to_array(constants[node.input[contract.B]])
    params = tuple(values.get("activation_params", ()))
    return Epilogue(bias, residual, values.get("activation", ""), params, node.output[0])


def _bare(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Leave only the convolution in a node, with an output of its own."""
    if len(node.input) > contract.Z:
        node.input[contract.Z] = f"{steer.PREFIX}{node.name}/no_residual"
        graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), node.input[contract.Z]))
    for attribute in [item for item in node.attribute if item.name.startswith("activation")]:
        node.attribute.remove(attribute)
    node.output[:] = [f"{steer.PREFIX}{node.name}/raw"]


def _parts(model: onnx.ModelProto, epilogues: Mapping[str, Epilogue]) -> list[list[onnx.NodeProto]]:
    """The nodes that some HasteConv depends on, in order, cut behind each HasteConv."""
    kept: list[onnx.NodeProto] = []
    wanted = {epilogue.residual for epilogue in epilogues.values() if isinstance(epilogue.residual, str)}
    for node in reversed(model.graph.node):
        if _is_conv(node) or not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted |= _reads(node)
    parts: list[list[onnx.NodeProto]] = [[]]
    for node in reversed(kept):
        parts[-1].append(node)
        if _is_conv(node):
            parts.append([])
    return parts[:-1]


def _is_conv(node: onnx.NodeProto) -> bool:
    return node.domain == contract.DOMAIN and node.op_type == contract.CONV


def _submodel(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> onnx.ModelProto:
    """A model of these nodes; whatever they read and do not make is an input."""
    read = set().union(*map(_reads, nodes))
    made = {output for node in nodes for output in node.output}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    steering = {entry.name: entry for entry in model.graph.input}
    names = {tensor.name for tensor in constants}
    inputs = [steering[name] for name in sorted(names & set(steering))]
    inputs += [onnx.ValueInfoProto(name=name) for name in sorted(read - made - names)]
    found = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "stage", inputs, found, constants)
    part = onnx.ModelProto(ir_version=model.ir_version, graph=graph)
    part.opset_import.extend(model.opset_import)
    part.functions.extend(model.functions)
    return part


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names of all values that a node takes, those that only its branches or bodies take included."""
    found = set(node.input) - {""}
    for graph in inner_graphs(node):
        own = {entry.name for entry in (*graph.input, *graph.initializer)}
        own |= {output for child in graph.node for output in child.output}
        found |= set().union(*map(_reads, graph.node)) - own
    return found
