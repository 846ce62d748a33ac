"""The convolutions of a model as the selection sees them: their costs, and the tensors that tie them together.

Tensors that share one memory layout form a link (haste_export/passes/layout.py). Where all convolutions at a link are
HasteConvs it stays blocked and costs nothing; elsewhere something has to be converted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from haste_export.constants import Constants
from haste_export.contract import BLOCK, PATCH
from haste_export.dims import Dims
from haste_export.disjoint_sets import DisjointSets
from haste_export.flops import LayerShape
from haste_export.options import Options
from haste_export.passes.layout import tied_values
from haste_export.passes.rewrite import patch_of
from haste_export.rules.pool_form import pool_form
from haste_export.rules.select import ConvForm
from haste_export.speed.model import Costs, haste_work, is_blocked_by_stock, stock_work, total
from haste_export.speed.typical import typical_counts

MARGIN = 1.03
"""How much faster a layer must be, predicted or measured, to be worth an approximation."""
UNTILED_MARGIN = 1.3
"""The same, predicted, for kernels and patches that are computed directly: there the model promises up to a third more
than is measured on layers that it was not fitted to (docs/cost-model.md, "Error")."""
NOMINAL_SIDE = 28
"""Height and width that are assumed where the model leaves them open; which layer gains hardly depends on them."""


@dataclass(frozen=True)
class Layer:
    """A convolution.

    Attributes:
        name: of the node.
        eligible: whether it may become a HasteConv.
        stock: nanoseconds as Conv.
        haste: nanoseconds as HasteConv between blocked tensors; of no meaning if it is not eligible.
        dense: the same in dense mode.
        margin: how much faster it must be predicted to be worth an approximation.
    """

    name: str
    eligible: bool
    stock: float
    haste: float
    dense: float
    margin: float = MARGIN


@dataclass(frozen=True)
class End:
    """A tensor that layer number `layer` reads or writes.

    Attributes:
        layer: index of the layer.
        writes: whether it is the layer's output.
        convert: nanoseconds to convert it in a HasteConv, or in a HasteReorder.
        reorder: nanoseconds that stock pays to bring it into its own blocked layout; 0 where it has none.
    """

    layer: int
    writes: bool
    convert: float
    reorder: float


@dataclass
class Link:
    """Tensors of one layout.

    Attributes:
        ends: the convolutions' ends.
        blockable: whether the link can be blocked if all its writers are HasteConvs.
        others: nanoseconds to convert those tensors that something else than a convolution reads in NCHW.
        join: nanoseconds to pay beside where layouts meet.
    """

    ends: list[End] = field(default_factory=list)
    blockable: bool = True
    others: float = 0.0
    join: float = 0.0

    def cost(self, chosen: frozenset[int] | set[int]) -> float:
        """Nanoseconds of conversions if the layers in `chosen` are HasteConvs; nothing for an all-stock link."""
        own = [end for end in self.ends if end.layer in chosen]
        if not own:
            return 0.0
        plain = [end for end in self.ends if end.layer not in chosen]
        inside = sum(end.convert for end in own)
        if self.blockable and not any(end.writes for end in plain):
            readers = max((end.convert for end in plain), default=0.0)
            inside = min(inside, max(readers, self.others))
        return inside + sum(end.reorder for end in plain) + (self.join if inside > 0 else 0.0)


@dataclass(frozen=True)
class Network:
    """All convolutions, in the order of the model, and their links."""

    layers: Sequence[Layer]
    links: Sequence[Link]

    def cost(self, chosen: frozenset[int] | set[int]) -> float:
        """Nanoseconds of the convolutions and conversions of one image, if `chosen` are HasteConvs."""
        own = sum(layer.haste if index in chosen else layer.stock for index, layer in enumerate(self.layers))
        return own + sum(link.cost(chosen) for link in self.links)

    def components(self, members: Iterable[int]) -> list[frozenset[int]]:
        """The members in groups that hang together through links, in the order of the model."""
        wanted, groups = set(members), DisjointSets[int]()
        for link in self.links:
            groups.join(*(end.layer for end in link.ends if end.layer in wanted))
        found: dict[int, set[int]] = defaultdict(set)
        for member in sorted(wanted):
            found[groups.root(member)].add(member)
        return [frozenset(group) for group in found.values()]


def build_network(
    model: ir.Model,
    decisions: Sequence[tuple[ir.Node, ConvForm | str]],
    options: Options,
    costs: Costs,
    hyperplanes: Callable[[str], int],
) -> Network:
    """The network of a model whose convolutions have been decided on.

    Args:
        model: with its shapes inferred.
        decisions: every Conv, with its form or why it stays.
        options: of the compression.
        costs: constants of the cost model.
        hyperplanes: L of a layer, by name.
    """
    constants, dims = Constants(model), Dims()
    groups = DisjointSets[ir.Value]()
    for graph in model.graphs():
        for node in graph:
            tied = list(tied_values(node, constants, dims))
            if pool_form(node, dims) is not None and node.inputs[0] is not None:
                tied += [node.inputs[0], node.outputs[0]]
            groups.join(*tied)
    layers, links = [], defaultdict[ir.Value, Link](Link)
    for index, (conv, form) in enumerate(decisions):
        shape = _shape(conv, dims, patch_of(conv, form, options) if isinstance(form, ConvForm) else PATCH)
        layers.append(_layer(conv, form, shape, options, costs, hyperplanes))
        stock_blocks = shape is not None and is_blocked_by_stock(shape, costs.stock_block)
        ends = [(conv.outputs[0], True)]
        if conv.inputs[0] is not None:
            ends.append((conv.inputs[0], False))
        for value, writes in ends:
            elements = _elements(value, dims, shape, writes)
            link = links[groups.root(value)]
            reorder = elements * costs.reorder if stock_blocks else 0.0
            link.join = costs.join
            link.ends.append(End(index, writes, elements * costs.convert, reorder))
            link.blockable = link.blockable and _channels(value, dims, shape, writes) % BLOCK == 0
    for graph in model.graphs():
        _note_others(graph, groups, links, {conv for conv, _ in decisions}, dims, costs)
    return Network(layers, list(links.values()))


def _layer(
    conv: ir.Node,
    form: ConvForm | str,
    shape: LayerShape | None,
    options: Options,
    costs: Costs,
    hyperplanes: Callable[[str], int],
) -> Layer:
    name = str(conv.name)
    if shape is None:
        return Layer(name, False, 0.0, 0.0, 0.0)
    work, dense = (
        haste_work(shape, typical_counts(count, shape.taps, shape.patch), count, options.sparsity)
        for count in (hyperplanes(name), 0)
    )
    stock = total(stock_work(shape, costs.stock_block), costs.stock)
    margin = MARGIN if work.direct == 0 else UNTILED_MARGIN
    return Layer(name, isinstance(form, ConvForm), stock, total(work, costs.haste), total(dense, costs.haste), margin)


def _note_others(
    graph: ir.Graph,
    groups: DisjointSets[ir.Value],
    links: dict[ir.Value, Link],
    convs: set[ir.Node],
    dims: Dims,
    costs: Costs,
) -> None:
    """Add to the links what other operators and the caller read or write."""
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        root = groups.root(value)
        if root not in links:
            continue
        producer = value.producer()
        if producer is None or (producer not in convs and value not in groups):
            links[root].blockable = False
        users = [node for node, _ in value.uses() if node not in convs]
        outside = any(not any(groups.root(out) == root for out in node.outputs) for node in users)
        if value.is_graph_output() or outside:
            links[root].others += _elements(value, dims, None, True) * costs.convert


def _shape(conv: ir.Node, dims: Dims, patch: int) -> LayerShape | None:
    """Sizes of a 2-D convolution, of one group; None for others."""
    weights = conv.inputs[1].shape if conv.inputs[1] is not None else None
    if weights is None or not weights.is_static() or weights.rank() != 4 or 0 in weights.numpy():
        return None
    out_channels, in_channels, kernel_h, kernel_w = weights.numpy()
    sizes = dims.of(conv.outputs[0])
    height, width = (
        dim if isinstance(dim, int) and dim > 0 else NOMINAL_SIDE for dim in (sizes[2:4] if sizes else (None, None))
    )
    return LayerShape(in_channels, out_channels, height, width, kernel_h, kernel_w, patch=patch)


def _elements(value: ir.Value, dims: Dims, shape: LayerShape | None, writes: bool) -> int:
    """Elements of a tensor, for one image."""
    sizes = dims.of(value)
    if sizes is not None and len(sizes) == 4 and all(isinstance(dim, int) for dim in sizes[1:]):
        channels, height, width = (int(dim) for dim in sizes[1:])
        return channels * height * width
    if shape is None:
        return 0
    return shape.out_h * shape.out_w * (shape.out_channels if writes else shape.in_channels)


def _channels(value: ir.Value, dims: Dims, shape: LayerShape | None, writes: bool) -> int:
    sizes = dims.of(value)
    if sizes is not None and len(sizes) == 4 and isinstance(sizes[1], int):
        return sizes[1]
    return (shape.out_channels if writes else shape.in_channels) if shape is not None else 1
