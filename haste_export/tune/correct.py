"""Corrects every compressed layer's first two moments: a gain and a bias per output channel, for every level of a plan.

Merging shrinks a layer's output by a few per cent, nearly alike in all its channels, and the shrinking compounds from
layer to layer. A gain per channel undoes it. It needs a hundred images without labels and costs nothing at run time:
the kernels apply it where they add the bias (docs/operator.md, input A). Dense mode and the exact bodies ignore it.

For every layer in turn, with the layers before it corrected already: gain = σ_stock / σ_compressed, and the bias that
gives the compressed layer stock's mean. Moments are over all images and pixels, before the residual and the activation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import runtime_ops
from haste_export import contract
from haste_export.evaluate import steer
from haste_export.evaluate.dataset import Dataset
from haste_export.evaluate.engine import session_options
from haste_export.evaluate.models import compressed_with
from haste_export.evaluate.stats import haste_convs
from haste_export.options import Options
from haste_export.plan import LayerSetting

Array = npt.NDArray[Any]
Corrections = dict[str, npt.NDArray[np.float32]]
"""Layer name -> [2, M]: gains, biases."""

LARGEST_GAIN = 2.0
"""Gains beyond this, or below its inverse, come from channels that are nearly constant and would amplify noise."""

_ZERO = "haste_correction/zero"


def corrected(
    stock: onnx.ModelProto,
    options: Options,
    dataset: Dataset,
    threads: int = 0,
    progress: Callable[[], None] | None = None,
) -> onnx.ModelProto:
    """The compressed form of a model by a plan with levels, every level corrected.

    Args:
        stock: the original.
        options: with a plan; its levels are what is corrected.
        dataset: images, of which labels are not used; about a hundred are enough.
        threads: of the sessions that measure.
        progress: called after each layer of each level.
    """
    meter = MomentMeter(compressed_with(stock, replace(options, layout="nchw", weights="oihw")), dataset, threads)
    tables = [meter.calibrate(level, progress) for level in options.plan.levels]
    return attach(compressed_with(stock, options), tables)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation [M] of a layer's output before residual and activation."""

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]


class MomentMeter:
    """Measures moments of all layers of a compressed model in the NCHW layout."""

    def __init__(self, compressed: onnx.ModelProto, dataset: Dataset, threads: int = 0) -> None:
        """Open a copy in which every layer has inputs of its own for L, τ and the correction, and shows its moments."""
        model = _with_moments(compressed)
        self._layers = [node.name for node in haste_convs(compressed)]
        initializers = {tensor.name: tensor for tensor in compressed.graph.initializer}
        biases = {node.name: initializers[node.input[contract.B]] for node in haste_convs(compressed)}
        self._biases = {name: numpy_helper.to_array(tensor).astype(np.float64) for name, tensor in biases.items()}
        self._dataset = dataset
        self._session = runtime_ops.Session(model.SerializeToString(), options=session_options(threads))
        self._inputs = frozenset(node.name for node in self._session.inference.get_overridable_initializers())
        self._stock: dict[str, Moments] = {}

    def calibrate(
        self, settings: Mapping[str, LayerSetting], progress: Callable[[], None] | None = None
    ) -> Corrections:
        """Corrections of the layers that are compressed at these settings, each measured behind those before it."""
        found: Corrections = {}
        for name in self._layers:
            if name in settings and settings[name].hyperplanes > 0:
                if name not in self._stock:
                    self._stock[name] = self._measure(name, {}, {})
                found[name] = correction(self._stock[name], self._measure(name, settings, found), self._biases[name])
            if progress is not None:
                progress()
        return found

    def _measure(self, name: str, settings: Mapping[str, LayerSetting], corrections: Corrections) -> Moments:
        fed = {f"{steer.PREFIX}{layer}/correction": value for layer, value in corrections.items()}
        steering = {**steer.feeds(settings, self._inputs), **fed}
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for batch in self._dataset.batches():
            (raw,) = self._session.run({**batch.feeds, **steering}, [f"{steer.PREFIX}{name}/raw"])
            values = raw.astype(np.float64)
            count += values.size // values.shape[1]
            total = total + values.sum(axis=(0, 2, 3))
            squares = squares + (values**2).sum(axis=(0, 2, 3))
        mean = total / count
        return Moments(mean, np.sqrt(np.maximum(squares / count - mean**2, 0)))


def correction(stock: Moments, ours: Moments, bias: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """[2, M]: the gain of the convolution, and what takes the bias's place, so that both moments become stock's."""
    usable = ours.deviation > 1e-6 * max(float(stock.deviation.max(initial=0)), 1e-30)
    gain = np.divide(stock.deviation, ours.deviation, out=np.ones_like(bias), where=usable)
    gain = np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN)
    return np.stack([gain, stock.mean - gain * (ours.mean - bias)]).astype(np.float32)


def attach(compressed: onnx.ModelProto, levels: Sequence[Corrections]) -> onnx.ModelProto:
    """A copy in which every HasteConv takes its correction from a table, by haste_level; level 0 has none to take."""
    model = onnx.ModelProto()
    model.CopyFrom(compressed)
    graph = model.graph
    biases = {tensor.name: tensor for tensor in graph.initializer}
    gathers = []
    for node in haste_convs(model):
        bias = numpy_helper.to_array(biases[node.input[contract.B]])
        neutral = np.stack([np.ones_like(bias), bias])
        table = np.stack([neutral, *(level.get(node.name, neutral) for level in levels)]).astype(np.float32)
        base = f"{node.name}/level_correction"
        graph.initializer.append(numpy_helper.from_array(table, f"{base}_table"))
        gathers.append(helper.make_node("Gather", [f"{base}_table", contract.STEERING_LEVEL], [base], base, axis=0))
        _pass(node, base)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*gathers, *nodes])
    _add_zero(graph)
    _take_correction(model)
    return model


def _pass(node: onnx.NodeProto, value: str) -> None:
    """Append the correction to a node's inputs, with scalar zeros for a residual and a τ that it lacks."""
    node.input.extend([_ZERO] * (contract.A - len(node.input)))
    node.input.append(value)


def _add_zero(graph: onnx.GraphProto) -> None:
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), _ZERO))


def _take_correction(model: onnx.ModelProto) -> None:
    """The local function gets the formal inputs; its exact body uses none of them."""
    for function in model.functions:
        if function.domain == contract.DOMAIN and function.name == contract.CONV:
            function.input.extend(["Z", "T", "A"][len(function.input) - contract.Z :])


def _with_moments(compressed: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with an input haste_layer/NAME/correction and an output haste_layer/NAME/raw for every layer."""
    model = steer.per_layer(compressed)
    graph = model.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.domain == contract.DOMAIN and node.op_type == contract.CONV:
            twin = _twin(node)
            graph.node.append(twin)
            graph.output.append(helper.make_tensor_value_info(twin.output[0], TensorProto.FLOAT, None))
            bias = numpy_helper.to_array(initializers[node.input[contract.B]])
            name = f"{steer.PREFIX}{node.name}/correction"
            neutral = np.stack([np.ones_like(bias), bias]).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(neutral, name))
            graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, neutral.shape))
            _pass(node, name)
        graph.node.append(node)
    _add_zero(graph)
    _take_correction(model)
    return model


def _twin(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node without residual, activation and correction, with an output of its own."""
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    twin.name = f"{node.name}/raw"
    twin.output[:] = [f"{steer.PREFIX}{node.name}/raw"]
    if len(node.input) > contract.Z:
        twin.input[contract.Z] = _ZERO
    for attribute in [item for item in twin.attribute if item.name.startswith("activation")]:
        twin.attribute.remove(attribute)
    return twin
