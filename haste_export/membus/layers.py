"""Models of one layer each, cut from a stock and a compressed model at the same tensors, with their real inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from haste_export.contract import CONV, DOMAIN, PATCH, REORDER, Z
from haste_export.errors import CheckFailedError
from haste_export.membus.simulation import Job

Array = NDArray[np.generic]


@dataclass(frozen=True)
class MemoryShape:
    """What the traffic of a convolution depends on: batch, channels, filters, kernel, output size, bytes of a weight.

    `weight_size` is that of a weight of the HasteConv, in bytes; stock's are float32. `patch` is p of the HasteConv.
    """

    batch: int
    channels: int
    filters: int
    kernel: tuple[int, int]
    output: tuple[int, int]
    weight_size: int = 4
    patch: int = PATCH


@dataclass(frozen=True)
class LayerPair:
    """One layer as two models; `stock` is None when the original has no such tensors."""

    name: str
    shape: MemoryShape
    stock: Job | None
    haste: Job


def cut_layers(
    stock: onnx.ModelProto | None,
    haste: onnx.ModelProto,
    feeds: tuple[Mapping[str, Array], Mapping[str, Array]],
    library: str,
    folder: Path,
) -> list[LayerPair]:
    """One pair of models per HasteConv, in order.

    Args:
        stock: the original, or None.
        haste: the compressed model; its convolutions name the layers.
        feeds: inputs of the two models.
        library: of this machine, to compute the activations between the layers.
        folder: the models and their inputs are written here.
    """
    nodes = [node for node in haste.graph.node if node.domain == DOMAIN and node.op_type == CONV]
    wanted = [_tensors(haste, node) for node in nodes]
    constants = {tensor.name for tensor in haste.graph.initializer}
    cuts = [[name for name in inputs if name not in constants] for inputs, _ in wanted]
    inner = sorted({name for inputs in cuts for name in inputs} | {output for _, output in wanted})
    haste_values = _activations(haste, feeds[1], inner, library)
    known = _produced(stock) if stock else set()
    stock_values: dict[str, Array] = {}
    if stock is not None:
        stock_values = _activations(stock, feeds[0], sorted(name for name in inner if name in known), None)
    pairs = []
    for index, (node, inputs, (_, output)) in enumerate(zip(nodes, cuts, wanted, strict=True)):
        name = node.name or output
        stem = folder / f"layer{index:03d}"
        job = _write(extract(haste, inputs, output), haste_values, inputs, stem.with_suffix(".haste"), native=True)
        original = [_through_reorder(haste, tensor) for tensor in inputs]
        stock_job = None
        if stock is not None and output in known and all(tensor in known for tensor in original):
            cut = extract(stock, original, output)
            stock_job = _write(cut, stock_values, original, stem.with_suffix(".stock"), native=False)
        pairs.append(LayerPair(name, _shape(haste, node, haste_values[output]), stock_job, job))
    return pairs


def extract(model: onnx.ModelProto, inputs: Sequence[str], output: str) -> onnx.ModelProto:
    """The part of a model between some tensors and one that depends on them.

    Raises:
        CheckFailedError: the output depends on an input of the model that is not among `inputs`.
    """
    producer = {name: node for node in model.graph.node for name in node.output if name}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    used: set[str] = set()
    seen = set(inputs)
    # A node's inputs are handled before the node itself: a stack of (name, its inputs are done).
    stack = [(output, False)]
    while stack:
        name, done = stack.pop()
        if done:
            if not any(producer[name] is node for node in nodes):
                nodes.append(producer[name])
        elif name and name not in seen:
            seen.add(name)
            if name in initializers:
                used.add(name)
            elif name in producer:
                stack.append((name, True))
                stack.extend((source, False) for source in producer[name].input)
            else:
                raise CheckFailedError(f"{output} depends on the model's input {name}: this layer cannot be cut out")
    graph = helper.make_graph(
        nodes,
        "layer",
        [_open_tensor(name) for name in inputs],
        [_open_tensor(output)],
        [initializers[name] for name in sorted(used)],
    )
    layer = helper.make_model(graph, opset_imports=list(model.opset_import), functions=list(model.functions))
    layer.ir_version = model.ir_version
    return layer


def _open_tensor(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def _tensors(model: onnx.ModelProto, node: onnx.NodeProto) -> tuple[list[str], str]:
    residual = [node.input[Z]] if len(node.input) > Z and node.input[Z] else []
    return [node.input[0], *residual], node.output[0]


def _through_reorder(model: onnx.ModelProto, name: str) -> str:
    for node in model.graph.node:
        if name in node.output and node.op_type == REORDER:
            return str(node.input[0])
    return name


def _produced(model: onnx.ModelProto) -> set[str]:
    names = {name for node in model.graph.node for name in node.output}
    return names | {value.name for value in model.graph.input}


def _activations(
    model: onnx.ModelProto, feeds: Mapping[str, Array], names: Sequence[str], library: str | None
) -> dict[str, Array]:
    """Values of inner tensors; blocked ones come as they lie in memory, which is how a cut layer takes them."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inner = [name for name in names if name not in feeds]
    present = {value.name for value in probe.graph.output}
    probe.graph.output.extend(_open_tensor(name) for name in inner if name not in present)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if library is not None:
        options.register_custom_ops_library(library)
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = dict(zip(inner, session.run(inner, dict(feeds)), strict=True)) if inner else {}
    return {**values, **{name: feeds[name] for name in names if name in feeds}}


def _write(model: onnx.ModelProto, values: Mapping[str, Array], inputs: Sequence[str], stem: Path, native: bool) -> Job:
    folder = stem.with_name(stem.name.replace(".", "_"))
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    options: list[str] = []
    for index, name in enumerate(inputs):
        shape = values[name].shape
        # Fixed sizes: haste-run reads them, and both engines plan their memory by them.
        model.graph.input[index].CopyFrom(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        file = folder / f"input{index}.npy"
        np.save(file, np.ascontiguousarray(values[name]))
        options += ["--input", f"{name}={file}"]
    onnx.save(model, path)
    return Job(path, tuple(options), native)


def _shape(model: onnx.ModelProto, node: onnx.NodeProto, output: Array) -> MemoryShape:
    kernel = next(tuple(a.ints) for a in node.attribute if a.name == "kernel_shape")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
    # OIHW, or packed [ceil(M/16), C, kH*kW, 16]: the second size is C in both.
    batch, filters, height, width = output.shape
    weight_size = helper.tensor_dtype_to_np_dtype(weights.data_type).itemsize
    patch = next((a.i for a in node.attribute if a.name == "patch"), PATCH)
    return MemoryShape(batch, weights.dims[1], filters, (kernel[0], kernel[1]), (height, width), weight_size, patch)
