"""Keeps chains of HasteConv in the blocked layout (docs/operator.md, "Layouts").

Values tied by an elementwise operator or a Concat share one memory layout, so they form a group: all blocked or none.
A group can be blocked if

* every value has rank 4, a static multiple of 16 channels, and is neither captured by a subgraph nor a graph input;
* every value is written by a HasteConv, by a pool that reads a blocked value, or by an operator that ties it.

A reader that knows nothing of the layout (a plain Conv, a Flatten, the caller) gets the value through one HasteReorder
per value. That is a pass over memory, as is the conversion inside a HasteConv that reads or writes NCHW. So a group
is blocked if more HasteConvs write or read its values than reorders are needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import onnx_ir as ir

from haste_export.constants import Constants
from haste_export.contract import AVERAGE_POOL, BLOCK, BLOCKED, CONV, DOMAIN, MAX_POOL, NCHW, REORDER, X, Z
from haste_export.dims import Dims
from haste_export.disjoint_sets import DisjointSets
from haste_export.graph import Names, is_captured
from haste_export.report import Report
from haste_export.rules.pool_form import PoolForm, pool_form

_UNARY = frozenset({
    "Abs", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish",
    "Neg", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh",
})  # fmt: skip
_VARIADIC = frozenset({"Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum"})


class BlockedLayout(ir.passes.InPlacePass):
    """Sets the layouts of HasteConv, replaces the pools between them, and adds the reorders at the ends of chains.

    The report gets the numbers of pools and reorders.
    """

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Every graph for itself: a value that a subgraph captures stays NCHW."""
        constants, dims, names, report = Constants(model), Dims(), Names(model), self._report
        modified = False
        for graph in list(model.graphs()):
            chain = _Chain(graph, constants, dims)
            blocked = chain.blocked_values()
            # Everything is decided before the first change, because a change hides what the decisions look at.
            plain_readers = {value: chain.plain_readers(value) for value in blocked if chain.needs_reorder(value)}
            for node in list(graph):
                if _is_haste_conv(node):
                    _set_conv_layouts(node, blocked)
            for value, readers in plain_readers.items():
                _add_reorder(graph, value, readers, names)
            pools = [(node, form) for node, form in chain.pools.items() if node.inputs[0] in blocked]
            for node, form in pools:
                _replace_pool(graph, node, form, blocked)
            report.reorders += len(plain_readers)
            report.pools += len(pools)
            modified = modified or bool(blocked)
        return ir.passes.PassResult(model, modified)


class _Chain:
    """The values of one graph, in groups that must share a layout."""

    def __init__(self, graph: ir.Graph, constants: Constants, dims: Dims) -> None:
        self._constants = constants
        self._dims = dims
        self._graph = graph
        self._groups = DisjointSets[ir.Value]()
        self._nodes = list(graph)
        self._tied = {node: tied_values(node, constants, dims) for node in self._nodes}
        forms = {node: pool_form(node, dims) for node in self._nodes}
        self.pools = {node: form for node, form in forms.items() if form is not None}
        for tied in self._tied.values():
            self._groups.join(*tied)

    def blocked_values(self) -> set[ir.Value]:
        """All values that become blocked, found by starting from all that might and dropping groups until it holds."""
        groups: dict[ir.Value, list[ir.Value]] = defaultdict(list)
        for node in self._nodes:
            for value in node.outputs:
                groups[self._groups.root(value)].append(value)
        # A group with a value from elsewhere (a graph input, an initializer, an outer graph) cannot be blocked.
        foreign = {self._groups.root(value) for value in self._groups if not self._is_local(value)}
        alive = {root: values for root, values in groups.items() if root not in foreign}
        alive = {root: values for root, values in alive.items() if all(map(self._may_be_blocked, values))}
        while True:
            blocked = {value for values in alive.values() for value in values}
            kept = {root: values for root, values in alive.items() if self._holds(values, blocked)}
            if len(kept) == len(alive):
                return blocked
            alive = kept

    def _may_be_blocked(self, value: ir.Value) -> bool:
        sizes = self._dims.of(value)
        if sizes is None or len(sizes) != 4 or not isinstance(sizes[1], int) or sizes[1] % BLOCK:
            return False
        return value.dtype in (None, ir.DataType.FLOAT) and not is_captured(value)

    def _holds(self, values: Iterable[ir.Value], blocked: set[ir.Value]) -> bool:
        """Whether the group can be written blocked, and gains by it."""
        ends, reorders = 0, 0
        for value in values:
            node = value.producer()
            assert node is not None
            pool_reads_blocked = node in self.pools and node.inputs[0] in blocked
            if not (_is_haste_conv(node) or pool_reads_blocked or self._tied[node]):
                return False
            ends += _is_haste_conv(node)
            ends += sum(_is_haste_conv(user) for user, _ in value.uses())
            reorders += self.needs_reorder(value)
        return ends > reorders

    def needs_reorder(self, value: ir.Value) -> bool:
        """Whether something that cannot read a blocked value reads this one."""
        return value.is_graph_output() or bool(self.plain_readers(value))

    def plain_readers(self, value: ir.Value) -> list[tuple[ir.Node, int]]:
        """Nodes, and their input's place, that need the value in NCHW."""
        return [(node, index) for node, index in value.uses() if not self._reads_blocked(node, index)]

    def _reads_blocked(self, node: ir.Node, index: int) -> bool:
        if _is_haste_conv(node):
            return index in (X, Z)
        return node in self.pools or bool(self._tied.get(node))

    def _is_local(self, value: ir.Value) -> bool:
        producer = value.producer()
        return producer is not None and producer.graph is self._graph


def tied_values(node: ir.Node, constants: Constants, dims: Dims) -> list[ir.Value]:
    """Tensors of a node that computes the same on blocked memory if all of them are blocked; [] for other nodes."""
    if node.domain != "" or len(node.outputs) != 1:
        return []
    out = node.outputs[0]
    if node.op_type == "Dropout":
        # Only what a model for inference holds: no training input, and the mask unused.
        return [out, node.inputs[0]] if len(node.inputs) <= 2 and node.inputs[0] is not None else []
    if node.op_type in _UNARY:
        first, *bounds = node.inputs
        scalars = all(bound is None or constants.scalar(bound) is not None for bound in bounds)
        return [out, first] if first is not None and scalars else []
    if node.op_type in _VARIADIC:
        tensors = [value for value in node.inputs if value is not None and not _is_scalar(value, constants)]
        same = all(dims.same_shape(value, out) for value in tensors)
        return [out, *tensors] if tensors and same else []
    if node.op_type == "Concat" and node.attributes.get_int("axis", 1) in (1, -3):
        return [out, *(value for value in node.inputs if value is not None)]
    return []


def _is_scalar(value: ir.Value, constants: Constants) -> bool:
    tensor = constants.tensor(value)
    return tensor is not None and tensor.size == 1


def _is_haste_conv(node: ir.Node) -> bool:
    return node.op_type == CONV and node.domain == DOMAIN


def _set_conv_layouts(node: ir.Node, blocked: set[ir.Value]) -> None:
    residual = node.inputs[Z] if len(node.inputs) > Z else None
    for name, value in (("x_layout", node.inputs[X]), ("z_layout", residual), ("y_layout", node.outputs[0])):
        if value in blocked:
            node.attributes[name] = ir.AttrString(name, BLOCKED)


def _replace_pool(graph: ir.Graph, node: ir.Node, form: PoolForm, blocked: set[ir.Value]) -> None:
    out = node.outputs[0]
    attributes = [
        ir.AttrInt64s("kernel_shape", form.kernel),
        ir.AttrInt64s("strides", form.strides),
        ir.AttrInt64s("pads", form.pads),
        ir.AttrInt64("ceil_mode", form.ceil_mode),
        ir.AttrString("x_layout", BLOCKED),
        ir.AttrString("y_layout", BLOCKED if out in blocked else NCHW),
    ]
    if not form.is_max:
        attributes.append(ir.AttrInt64("count_include_pad", form.count_include_pad))
    pool = ir.Node(
        DOMAIN,
        MAX_POOL if form.is_max else AVERAGE_POOL,
        [node.inputs[0]],
        attributes,
        outputs=[ir.Value(name=out.name, type=out.type, shape=out.shape)],
        name=node.name,
    )
    if out in blocked:
        blocked.add(pool.outputs[0])
    ir.convenience.replace_nodes_and_values(graph, node, [node], [pool], [out], [pool.outputs[0]])


def _add_reorder(graph: ir.Graph, value: ir.Value, readers: Iterable[tuple[ir.Node, int]], names: Names) -> None:
    """Give the readers that need NCHW one common copy; a graph output keeps its name."""
    producer = value.producer()
    assert producer is not None
    plain = ir.Value(name=names.fresh(f"{value.name}/nchw"), type=value.type, shape=value.shape)
    attributes = [ir.AttrString("x_layout", BLOCKED), ir.AttrString("y_layout", NCHW)]
    reorder = ir.Node(DOMAIN, REORDER, [value], attributes, outputs=[plain], name=f"{value.name}/to_nchw")
    graph.insert_after(producer, reorder)
    for node, index in readers:
        node.replace_input_with(index, plain)
    if value.is_graph_output():
        for place, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[place] = plain
        name, value.name = value.name, names.fresh(f"{value.name}/blocked")
        plain.name = name
