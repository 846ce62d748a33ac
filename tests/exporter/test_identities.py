"""Which Identity nodes go, and which a graph needs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from haste_export import compress
from haste_export.passes.identities import RemoveIdentities
from tests.exporter.models import filters, run, text_model

_BRANCHES = (
    "y = If (c) <then_branch = t () => (float[4] ty) {{ {then} }}, else_branch = e () => (float[4] ey) {{ {other} }}>"
)


def removed(model: onnx.ModelProto) -> onnx.ModelProto:
    ours = ir.from_proto(model)
    RemoveIdentities()(ours)
    result = ir.to_proto(ours)
    onnx.checker.check_model(result)
    return result


def identities(model: onnx.ModelProto) -> int:
    graph = ir.from_proto(model).graph
    return sum(node.op_type == "Identity" for node in graph.all_nodes())


@pytest.mark.parametrize(
    ("then", "left"),
    [
        ("ty = Identity (k)", 1),
        ("a = Identity (k)\nty = Identity (a)", 1),
        ("a = Relu (k)\nty = Identity (a)", 0),
        ("a = Identity (k)\nty = Relu (a)", 0),
        ("ty = Identity (x)", 1),
    ],
)
def test_a_branch_makes_its_own_output(then: str, left: int) -> None:
    body = "k = Neg (x)\n" + _BRANCHES.format(then=then, other="ey = Exp (k)")
    model = text_model(body, inputs="float[4] x, bool c", outputs="float[4] y")
    result = removed(model)
    assert identities(result) == left
    x = np.linspace(-1, 1, 4, dtype=np.float32)
    for c in (True, False):
        feeds = {"x": x, "c": np.array(c)}
        np.testing.assert_array_equal(run(result, feeds)[0], run(model, feeds)[0])


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("y = Neg (x)\nz = Identity (y)", 1),  # both are outputs
        ("a = Neg (x)\ny = Identity (a)\nz = Identity (a)", 1),  # one of them can be `a` itself
        ("a = Identity (x)\ny = Neg (a)\nb = Identity (a)\nz = Exp (b)", 0),
        ("y = Identity (x)\nz = Exp (x)", 1),
    ],
)
def test_outputs_keep_their_names_and_values(body: str, left: int) -> None:
    model = text_model(body, inputs="float[4] x", outputs="float[4] y, float[4] z")
    result = removed(model)
    assert identities(result) == left
    assert [value.name for value in result.graph.output] == ["y", "z"]
    feeds = {"x": np.linspace(-1, 1, 4, dtype=np.float32)}
    for ours, theirs in zip(run(result, feeds), run(model, feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_more_exact_shape_is_kept() -> None:
    result = removed(text_model("a = Neg (x)\ny = Identity (a)", inputs="float[n] x", outputs="float[4] y"))
    assert result.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 4


def test_a_compressed_model_with_a_captured_output_runs() -> None:
    body = (
        "h = Conv <pads = [1,1,1,1]> (x, w)\nk = Conv <pads = [1,1,1,1]> (h, w)\n"
        "b = If (c) <then_branch = t () => (float[1,16,9,8] ty) { ty = Identity (k) },"
        " else_branch = e () => (float[1,16,9,8] ey) { ey = Relu (k) }>\ny = Add (b, k)"
    )
    model = text_model(body, {"w": filters(16, 16, 3, 3)}, inputs="float[1,16,9,8] x, bool c")
    result = compress(model, select="all", layout="nchw")
    assert identities(result) == 1
    x = np.random.default_rng(0).standard_normal((1, 16, 9, 8)).astype(np.float32)
    for c in (True, False):
        feeds = {"x": x, "c": np.array(c)}
        np.testing.assert_allclose(run(result, feeds)[0], run(model, feeds)[0], rtol=1e-4, atol=1e-4)
