"""Small helpers over onnx_ir graphs that several passes need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir


class Names:
    """Hands out value names that no graph of the model uses."""

    def __init__(self, model: ir.Model) -> None:
        """Collect the names in use."""
        self._used: set[str] = set()
        for graph in model.graphs():
            self._used.update(value.name for value in values_of(graph) if value.name)

    def fresh(self, base: str) -> str:
        """`base`, or `base_1`, `base_2`, ... if that is taken."""
        name, suffix = base, 0
        while name in self._used:
            suffix += 1
            name = f"{base}_{suffix}"
        self._used.add(name)
        return name


def values_of(graph: ir.Graph) -> Iterator[ir.Value]:
    """Inputs, initializers and node outputs of one graph, without those of its subgraphs."""
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def nodes_of(model: ir.Model, domain: str, *op_types: str) -> Iterator[ir.Node]:
    """Nodes of these types in all graphs of the model, the main graph's first; safe while nodes are replaced."""
    for graph in list(model.graphs()):
        for node in list(graph):
            if (node.domain or "") == domain and node.op_type in op_types:
                yield node


def every_node(model: ir.Model) -> list[ir.Node]:
    """All nodes, those of subgraphs and local functions too; a list, so that nodes may be replaced."""
    roots: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    return [node for root in roots for node in root.all_nodes()]


def add_initializer(graph: ir.Graph, name: str, data: npt.NDArray[np.generic] | ir.TensorProtocol) -> ir.Value:
    """Add a constant to the graph. The name must be unused."""
    tensor = ir.tensor(data, name=name) if isinstance(data, np.ndarray) else data
    value = ir.Value(name=name, shape=ir.Shape(sizes_of(tensor)), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def sizes_of(tensor: ir.TensorProtocol) -> tuple[int, ...]:
    """Shape of a constant; its sizes are always static."""
    return tuple(tensor.shape.numpy())


def is_captured(value: ir.Value) -> bool:
    """Whether a subgraph of the value's graph reads it."""
    return any(node.graph is not value.graph for node, _ in value.uses())


def image_size(value: ir.Value) -> tuple[int | None, int | None]:
    """Height and width of a rank-4 value, each None where it is not static."""
    if value.shape is None or value.shape.rank() != 4:
        return None, None
    height, width = (dim if isinstance(dim, int) else None for dim in value.shape[2:])
    return height, width


def channels_of(value: ir.Value) -> int | None:
    """Static channel count of a rank-4 value, if known."""
    if value.shape is None or value.shape.rank() != 4:
        return None
    channels = value.shape[1]
    return channels if isinstance(channels, int) else None
