"""Makes a compressed model say what its layers did: adds every HasteConv's statistics to the outputs."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from haste_export.contract import CONV, DOMAIN, STATS_LENGTH, STATS_PREFIX
from haste_export.subgraphs import inner_graphs

_STATS = "stats"


def instrument(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a compressed model with an output `haste_stats/<node name>`, float [8], for every HasteConv.

    The values are described in docs/operator.md, "Statistics"; all are zero where the fallback body ran. HasteConvs
    inside If or Loop bodies are left out: what they did may differ from one iteration to the next. Weights in external
    data stay where they are, so the copy must be saved, or run, beside them.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for function in copy.functions:
        if function.domain == DOMAIN and function.name == CONV and _STATS not in function.output:
            zeros = onnx.helper.make_tensor(_STATS, onnx.TensorProto.FLOAT, [STATS_LENGTH], [0.0] * STATS_LENGTH)
            function.node.append(onnx.helper.make_node("Constant", [], [_STATS], value=zeros))
            function.output.append(_STATS)
    # Every call gets the output, because shape inference wants calls and function to agree on how many there are.
    for node in _haste_convs(copy.graph):
        del node.output[1:]
        node.output.append(f"{STATS_PREFIX}{node.name}")
    present = {value.name for value in copy.graph.output}
    for node in copy.graph.node:
        if node.domain == DOMAIN and node.op_type == CONV and node.output[1] not in present:
            info = onnx.helper.make_tensor_value_info(node.output[1], onnx.TensorProto.FLOAT, [STATS_LENGTH])
            copy.graph.output.append(info)
    return copy


def layer_of(output: str) -> str | None:
    """The layer whose statistics the output holds, or None if it is one of the model's own."""
    return output[len(STATS_PREFIX) :] if output.startswith(STATS_PREFIX) else None


def _haste_convs(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        if node.domain == DOMAIN and node.op_type == CONV:
            yield node
        for body in inner_graphs(node):
            yield from _haste_convs(body)
