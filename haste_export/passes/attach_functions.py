"""Adds the local functions, so that the model runs, exact, where the library is not."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx_ir as ir

from haste_export.contract import (
    AVERAGE_POOL,
    BLOCK,
    CONV,
    DOMAIN,
    FUNCTION_IR_VERSION,
    LEVEL,
    MAX_POOL,
    OPSET_VERSION,
    PACKED,
    REORDER,
    B,
    T,
    W,
    Z,
)
from haste_export.functions import (
    Activation,
    ConvBody,
    average_pool_function,
    integer_attribute,
    level_function,
    max_pool_function,
    reorder_function,
)
from haste_export.graph import nodes_of


class AttachFunctions(ir.passes.InPlacePass):
    """Adds a local function for every operator of ours that the model uses, and the attributes that its body reads."""

    def __init__(self, *, stats: bool = False) -> None:
        """With `stats`, HasteConv nodes have the output `stats`."""
        super().__init__()
        self._stats = stats

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Also raises the IR version to the first one with local functions, if it is below."""
        opset = model.graph.opset_imports[""]
        functions: list[onnx.FunctionProto] = []
        if convs := list(nodes_of(model, DOMAIN, CONV)):
            functions.append(self._conv_function(opset, convs))
        for op_type, function in (
            (MAX_POOL, max_pool_function),
            (AVERAGE_POOL, average_pool_function),
            (REORDER, reorder_function),
            (LEVEL, level_function),
        ):
            if any(True for _ in nodes_of(model, DOMAIN, op_type)):
                functions.append(function(opset))
        for proto in functions:
            added = ir.serde.deserialize_function(proto)
            model.functions[added.identifier()] = added
        if functions:
            model.graph.opset_imports[DOMAIN] = OPSET_VERSION
            model.ir_version = max(model.ir_version, FUNCTION_IR_VERSION)
        return ir.passes.PassResult(model, modified=bool(functions))

    def _conv_function(self, opset: int, convs: Iterable[ir.Node]) -> onnx.FunctionProto:
        nodes = list(convs)
        activations = tuple(sorted({_activation(node) for node in nodes}))
        rows = [_rows(node) for node in nodes]
        body = ConvBody(
            opset=opset,
            activations=activations,
            packed=any(node.attributes.get_string("w_layout", "") == PACKED for node in nodes),
            partial=any(count % BLOCK for count in rows),
            residual=any(len(node.inputs) > Z for node in nodes),
            bounded=any(len(node.inputs) > T for node in nodes),
            half=any(_weights(node).dtype == ir.DataType.FLOAT16 for node in nodes),
            stats=self._stats,
        )
        for node, count in zip(nodes, rows, strict=True):
            _set_body_attributes(node, body, count)
        return body.function()


def _set_body_attributes(node: ir.Node, body: ConvBody, rows: int) -> None:
    protos: list[onnx.AttributeProto] = []
    if body.packed:
        weights = _weights(node)
        assert weights.shape is not None
        shape = [-1, int(weights.shape.numpy()[1]), *node.attributes.get_ints("kernel_shape", ())]
        protos.append(integer_attribute(body.opset, "w_shape", shape))
        if body.partial and body.opset < 10:
            protos.append(onnx.helper.make_attribute("w_rows", [rows]))
        elif body.partial:
            protos.append(integer_attribute(body.opset, "w_rows", [rows]))
    if len(body.activations) > 1:
        place = body.activations.index(_activation(node))
        protos.append(integer_attribute(body.opset, "activation_id", place))
    for proto in protos:
        node.attributes[proto.name] = ir.serde.deserialize_attribute(proto)


def _activation(node: ir.Node) -> Activation:
    params = tuple(float(value) for value in node.attributes.get_floats("activation_params", ()))
    return Activation(node.attributes.get_string("activation", ""), params)


def _weights(node: ir.Node) -> ir.Value:
    weights = node.inputs[W]
    assert weights is not None
    return weights


def _rows(node: ir.Node) -> int:
    """M, from the bias."""
    bias = node.inputs[B]
    assert bias is not None
    assert bias.shape is not None
    return int(bias.shape.numpy()[0])
