"""Finds what ONNX forbids and onnx_ir takes in silence, before a broken model becomes another broken model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from haste_export.errors import UnreadableModelError, UnsupportedModelError
from haste_export.subgraphs import inner_graphs

_TYPED_DATA = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def check_validity(model: onnx.ModelProto, name: str) -> None:
    """Look at what every node reads and at how every tensor is stored; `name` is what the sentences call the model.

    Raises:
        UnreadableModelError: a value is read that nothing writes, a tensor has not the data that its shape wants, or a
            Conv has less than one group.
        UnsupportedModelError: weights are stored as a sparse initializer.
    """
    if missing := _undefined(model.graph, frozenset()):
        raise UnreadableModelError(f"{name} is not a valid ONNX model: nothing writes '{missing}'")
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    graphs = [model.graph, *_subgraphs(nodes)]
    for graph in graphs:
        if graph.sparse_initializer:
            sparse = graph.sparse_initializer[0].values.name
            raise UnsupportedModelError(f"{name} cannot be compressed: '{sparse}' is a sparse initializer")
    tensors = [tensor for graph in graphs for tensor in graph.initializer]
    every_node = [*nodes, *(node for graph in graphs[1:] for node in graph.node)]
    for node in every_node:
        if node.op_type == "Conv" and any(_is_below_one(attribute) for attribute in node.attribute):
            raise UnreadableModelError(f"{name} is not a valid ONNX model: the Conv '{node.name}' has no group")
    tensors += [attribute.t for node in every_node for attribute in node.attribute if attribute.HasField("t")]
    for tensor in tensors:
        if reason := _fault(tensor):
            raise UnreadableModelError(f"{name} is not a valid ONNX model: the tensor '{tensor.name}' {reason}")


def _undefined(graph: onnx.GraphProto, outer: frozenset[str]) -> str | None:
    """A name that a graph, or a graph inside it, reads and nothing writes. The order of the nodes does not matter."""
    written = {output for node in graph.node for output in node.output}
    known = outer.union(
        written,
        (value.name for value in graph.input),
        (tensor.name for tensor in graph.initializer),
        (tensor.values.name for tensor in graph.sparse_initializer),
    )
    read = [*(name for node in graph.node for name in node.input), *(value.name for value in graph.output)]
    if missing := next((str(name) for name in read if name and name not in known), None):
        return missing
    for node in graph.node:
        for inner in inner_graphs(node):
            if missing := _undefined(inner, known):
                return missing
    return None


def _is_below_one(attribute: onnx.AttributeProto) -> bool:
    """Whether it is a number of groups below 1; in a local function it may refer to an attribute of the call."""
    return attribute.name == "group" and not attribute.ref_attr_name and attribute.i < 1


def _subgraphs(nodes: list[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    """All graphs inside attributes of the nodes, and inside those."""
    for node in nodes:
        for inner in inner_graphs(node):
            yield inner
            yield from _subgraphs(list(inner.node))


def _fault(tensor: onnx.TensorProto) -> str | None:
    """What is wrong with how a tensor is stored; unknown types and strings are not looked at."""
    try:
        kind = ir.DataType(tensor.data_type)
    except ValueError:
        return f"is of the unknown type {tensor.data_type}"
    if kind is ir.DataType.UNDEFINED:
        return "has no type"
    if any(size < 0 for size in tensor.dims):
        return f"has the shape {list(tensor.dims)}"
    if kind is ir.DataType.STRING:
        return None
    wanted = -(-math.prod(tensor.dims) * kind.bitwidth // 8)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external_fault({entry.key: entry.value for entry in tensor.external_data}, wanted)
    if tensor.HasField("raw_data"):
        stored = len(tensor.raw_data)
        return None if stored == wanted else f"has {stored} bytes, and its shape wants {wanted}"
    empty = not any(len(getattr(tensor, field)) for field in _TYPED_DATA)
    return "has no data" if empty and wanted else None


def _external_fault(place: dict[str, str], wanted: int) -> str | None:
    """What is wrong with how a tensor says where its data is."""
    if not place.get("location"):
        return "does not say in which file its data is"
    for key in ("offset", "length"):
        if not place.get(key, "0").isdecimal():
            return f"has external data of the {key} '{place[key]}'"
    if "length" in place and int(place["length"]) != wanted:
        return f"has {place['length']} bytes of external data, and its shape wants {wanted}"
    return None
