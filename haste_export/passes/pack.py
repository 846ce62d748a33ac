"""Writes the weights in the kernel's own layout, so that the library needs no second copy; as float16 if asked."""

from __future__ import annotations

import onnx_ir as ir

from haste_export.contract import BLOCK, CONV, DOMAIN, PACKED, W
from haste_export.graph import Names, nodes_of, sizes_of
from haste_export.half import float32_because
from haste_export.reference import Float32
from haste_export.reference import pack as pack_weights
from haste_export.report import Report


class PackWeights(ir.passes.InPlacePass):
    """Packs the weights of every HasteConv; weights shared by several nodes are packed, and stored, once.

    The packed tensors are evaluated when the model is written, one at a time, so a model larger than memory can pass.

    With `half` they are float16, but for those that float16 would harm; the report then says why, layer by layer.
    """

    def __init__(self, report: Report, *, half: bool) -> None:
        super().__init__()
        self._report = report
        self._half = half

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace the input W and set `w_layout`."""
        names = Names(model)
        packed: dict[ir.Value, ir.Value] = {}
        reasons: dict[ir.Value, str | None] = {}
        for conv in nodes_of(model, DOMAIN, CONV):
            weights = conv.inputs[W]
            assert weights is not None
            if weights not in packed:
                reasons[weights] = float32_because(_array(weights)) if self._half else None
                half = self._half and reasons[weights] is None
                packed[weights] = _packed_value(model.graph, weights, names, half)
            self._report.layer(str(conv.name)).float32_because = reasons[weights]
            conv.replace_input_with(W, packed[weights])
            conv.attributes["w_layout"] = ir.AttrString("w_layout", PACKED)
        for weights in packed:
            graph = weights.graph
            if graph is not None and weights.name and not weights.uses() and not weights.is_graph_output():
                graph.initializers.pop(weights.name)
        return ir.passes.PassResult(model, modified=bool(packed))


def _array(weights: ir.Value) -> Float32:
    assert weights.const_value is not None
    return weights.const_value.numpy()


def _packed_value(graph: ir.Graph, weights: ir.Value, names: Names, half: bool) -> ir.Value:
    tensor = weights.const_value
    assert tensor is not None
    # The tensor, not the value: while the model is written, the value may come to refer to the file being written.
    read = tensor.numpy
    dtype = ir.DataType.FLOAT16 if half else ir.DataType.FLOAT
    count, channels, height, width = sizes_of(tensor)
    shape = ir.Shape([-(-count // BLOCK), channels, height * width, BLOCK])
    name = names.fresh(f"{weights.name}/packed")
    lazy = ir.LazyTensor(
        lambda: ir.tensor(pack_weights(read()).astype(dtype.numpy()), name=name),
        dtype=dtype,
        shape=shape,
        name=name,
    )
    value = ir.Value(name=name, type=ir.TensorType(dtype), shape=shape, const_value=lazy)
    graph.register_initializer(value)
    return value
