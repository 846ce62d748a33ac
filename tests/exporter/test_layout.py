"""Where the blocked layout is used, and that a model with it computes the same with the library and without."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haste_export import compress, compress_with_report
from tests.exporter.models import (
    Array,
    assert_same_function,
    attributes,
    filters,
    haste_convs,
    op_types,
    text_model,
    vector,
)

WEIGHTS = {
    "w": filters(32, 32, 3, 3),
    "p": filters(32, 32, 1, 1),
    "wide": filters(32, 64, 1, 1),
    "odd": filters(20, 32, 3, 3),
    "back": filters(32, 20, 3, 3),
    "k": vector(32).reshape(32, 1, 1),
}
INPUT = "float[2,32,9,8] x"


def net(body: str, **options: Any) -> onnx.ModelProto:
    """A model from a body in which `conv` keeps the size and `down` halves it."""
    lines = body.replace("conv(", "Conv <pads = [1,1,1,1]> (").replace("down(", "Conv <strides = [2,2]> (")
    used: dict[str, Array] = {name: value for name, value in WEIGHTS.items() if f", {name})" in lines}
    return text_model(lines, used, inputs=INPUT, **options)


def layouts(model: onnx.ModelProto) -> list[str]:
    """One word per node: x, z and y layout by their first letters, or the operator for nodes that have none."""
    words = []
    for node in model.graph.node:
        values = attributes(node)
        found = [values[name][0] for name in ("x_layout", "z_layout", "y_layout") if name in values]
        words.append("".join([node.op_type.removeprefix("Haste"), " ", *found]).strip())
    return words


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("y = conv(x, w)", ["Conv NNN"], id="alone"),
        pytest.param("a = conv(x, w)\ny = conv(a, w)", ["Conv NNb", "Conv bNN"], id="two"),
        pytest.param("a = conv(x, odd)\ny = conv(a, back)", ["Conv NNN", "Conv NNN"], id="channels not of 16"),
        pytest.param(
            "a = conv(x, w)\nm = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a)\ny = conv(m, w)",
            ["Conv NNb", "MaxPool bb", "Conv bNN"], id="max pool between",
        ),
        pytest.param(
            "a = conv(x, w)\nm = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]> (a)\ny = conv(m, w)",
            ["Conv NNb", "AveragePool bb", "Conv bNN"], id="average pool between",
        ),
        pytest.param(
            "a = conv(x, w)\ny = MaxPool <kernel_shape = [2,2]> (a)", ["Conv NNb", "MaxPool bN"], id="pool at the end",
        ),
        pytest.param(
            "m = MaxPool <kernel_shape = [2,2]> (x)\ny = conv(m, w)", ["MaxPool", "Conv NNN"], id="pool at the front",
        ),
        pytest.param(
            "a = conv(x, w)\nm = MaxPool <kernel_shape = [2,2], dilations = [2,2]> (a)\ny = conv(m, w)",
            ["Conv NNN", "MaxPool", "Conv NNN"], id="pool with dilation",
        ),
        pytest.param(
            "a = conv(x, w)\nm = Dropout (a)\ny = conv(m, w)",
            ["Conv NNb", "Dropout", "Conv bNN"], id="dropout between",
        ),
        pytest.param(
            "a = conv(x, w)\nr = Softplus (a)\ny = conv(r, w)", ["Conv NNb", "Softplus", "Conv bNN"], id="elementwise",
        ),
        pytest.param(
            "a = conv(x, w)\nr = Mul (a, k)\nq = Neg (r)\ny = conv(q, w)",
            ["Conv NNb", "Neg", "Conv bNN"], id="elementwise behind what was folded",
        ),
        pytest.param(
            "a = conv(x, w)\nq = Neg (a)\nr = Mul (q, k)\ny = conv(r, w)",
            ["Conv NNN", "Neg", "Mul", "Conv NNN"], id="per-channel arithmetic",
        ),
        pytest.param(
            "a = conv(x, w)\nb = conv(a, w)\ns = Mul (a, b)\ny = conv(s, w)",
            ["Conv NNb", "Conv bNb", "Mul", "Conv bNN"], id="product of two",
        ),
        pytest.param(
            "a = conv(x, w)\ns = Mul (a, x)\ny = conv(s, w)", ["Conv NNN", "Mul", "Conv NNN"], id="product with NCHW",
        ),
        pytest.param(
            "a = conv(x, w)\nb = conv(a, w)\nc = Concat <axis = 1> (a, b)\ny = Conv (c, wide)",
            ["Conv NNb", "Conv bNb", "Concat", "Conv bNN"], id="concat of channels",
        ),
        pytest.param(
            "a = conv(x, w)\nb = conv(a, w)\nc = Concat <axis = 2> (a, b)\ny = conv(c, w)",
            ["Conv NNb", "Reorder bN", "Conv bNN", "Concat", "Conv NNN"], id="concat of rows",
        ),
        pytest.param(
            "a = conv(x, w)\nb = conv(a, w)\ny = Add (b, a)", ["Conv NNb", "Conv bbN"], id="residual",
        ),
        pytest.param(
            "a = conv(x, w)\nd = down(a, p)\nb = conv(a, w)\nz = down(b, p)\ny = Add (d, z)",
            ["Conv NNb", "Reorder bN", "Conv", "Conv bNN", "Conv", "Add"], id="a plain reader beside a HasteConv",
        ),
        pytest.param(
            "a = conv(x, w)\nd = down(a, p)\ne = down(a, p)\ny = Add (d, e)",
            ["Conv NNN", "Conv", "Conv", "Add"], id="plain readers only",
        ),
    ],
)  # fmt: skip
def test_layouts(body: str, expected: list[str], has_library: bool) -> None:
    model = net(body)
    small = compress(model, skip_first=0, select="all")
    assert layouts(small) == expected
    assert_same_function(model, small, library=has_library)


def test_a_graph_output_inside_a_chain_keeps_its_name(has_library: bool) -> None:
    model = net("a = conv(x, w)\nb = conv(a, w)\ny = conv(b, w)", outputs="float[] y, float[] a")
    small, report = compress_with_report(model, skip_first=0, select="all")
    assert [value.name for value in small.graph.output] == ["y", "a"]
    assert layouts(small) == ["Conv NNb", "Reorder bN", "Conv bNb", "Conv bNN"]
    assert report.reorders == 1
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("window", ["kernel_shape = [3,3], strides = [2,2]", "kernel_shape = [2,4]",
                                    "kernel_shape = [3,2], strides = [3,2]"])  # fmt: skip
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_automatic_pads_become_explicit(mode: str, window: str, kind: str, has_library: bool) -> None:
    model = net(f'a = conv(x, w)\nm = {kind} <{window}, auto_pad = "{mode}"> (a)\ny = conv(m, w)')
    small = compress(model, skip_first=0, select="all")
    assert layouts(small) == ["Conv NNb", f"{kind} bb", "Conv bNN"]
    assert_same_function(model, small, library=has_library)


def test_automatic_pads_with_a_stride_beyond_the_kernel_stay(has_library: bool) -> None:
    model = net('a = conv(x, w)\nm = MaxPool <kernel_shape = [1,2], strides = [3,3], auto_pad = "SAME_UPPER"> (a)\n'
                "y = conv(m, w)")  # fmt: skip
    small = compress(model, skip_first=0, select="all")
    assert layouts(small) == ["Conv NNN", "MaxPool", "Conv NNN"]
    assert_same_function(model, small, library=has_library)


def test_automatic_pads_of_an_unknown_size_stay(has_library: bool) -> None:
    pool = 'MaxPool <kernel_shape = [3,3], strides = [2,2], auto_pad = "SAME_UPPER"> (a)'
    body = f"a = Conv <pads = [1,1,1,1]> (x, w)\nm = {pool}\ny = Conv (m, w)"
    model = text_model(body, {"w": WEIGHTS["w"]}, inputs="float[n,32,h,8] x")
    small = compress(model, skip_first=0, select="all")
    assert layouts(small) == ["Conv NNN", "MaxPool", "Conv NNN"]
    assert_same_function(model, small, library=has_library, dynamic=9)


def test_a_pool_with_indices_stays(has_library: bool) -> None:
    model = net("a = conv(x, w)\nm, i = MaxPool <kernel_shape = [2,2]> (a)\ny = conv(m, w)",
                outputs="float[] y, int64[] i")  # fmt: skip
    small = compress(model, skip_first=0, select="all")
    assert layouts(small) == ["Conv NNN", "MaxPool", "Conv NNN"]
    assert_same_function(model, small, library=has_library)


def test_the_layout_can_be_turned_off(has_library: bool) -> None:
    model = net("a = conv(x, w)\nm = MaxPool <kernel_shape = [2,2]> (a)\ny = conv(m, w)")
    small, report = compress_with_report(model, skip_first=0, select="all", layout="nchw")
    assert layouts(small) == ["Conv NNN", "MaxPool", "Conv NNN"]
    assert (report.pools, report.reorders) == (0, 0)
    assert_same_function(model, small, library=has_library)


def test_the_report_tells_the_layouts() -> None:
    model = net("a = conv(x, w)\nb = conv(a, w)\ns = Add (b, a)\nr = Relu (s)\ny = conv(r, w)")
    _, report = compress_with_report(model, skip_first=0, select="all")
    middle = report.layers[1]
    assert (middle.input_layout, middle.residual_layout, middle.output_layout) == ("blocked", "blocked", "blocked")
    assert middle.activation == "Relu"


@pytest.mark.parametrize("opset", [7, 9, 11])
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_pools_in_old_opsets(opset: int, kind: str, has_library: bool) -> None:
    ceil_mode = ", ceil_mode = 1" if opset >= 10 else ""
    pool = f"{kind} <kernel_shape = [3,2], strides = [2,1], pads = [1,0,0,1]{ceil_mode}> (a)"
    model = net(f"a = conv(x, w)\nm = {pool}\ny = conv(m, w)", opset=opset)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv", f"Haste{kind}", "HasteConv"]
    assert_same_function(model, small, library=has_library)


STEPS = {
    "conv": "{new} = conv({a}, w)",
    "pointwise": "{new} = Conv ({a}, p)",
    "relu": "{new} = Relu ({a})",
    "neg": "{new} = Neg ({a})",
    "add": "{new} = Add ({a}, {b})",
    "mul": "{new} = Mul ({a}, {b})",
    "scale": "{new} = Mul ({a}, k)",
    "concat": "{new}c = Concat <axis = 1> ({a}, {b})\n{new} = Conv ({new}c, wide)",
    "odd": "{new}o = conv({a}, odd)\n{new} = conv({new}o, back)",
    "pool": "{new} = MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> ({a})",
    "average": "{new} = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1], count_include_pad = 1> ({a})",
    "grouped": "{new} = Conv <group = 32, pads = [1,1,1,1]> ({a}, depthwise)",
    "transpose": "{new}t = Transpose <perm = [0,1,3,2]> ({a})\n{new} = Transpose <perm = [0,1,3,2]> ({new}t)",
}


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_random_networks(data: st.DataObject, has_library: bool) -> None:
    """Whatever operators stand together, the result computes the same and names its outputs as before."""
    values, lines = ["x"], []
    for place in range(data.draw(st.integers(2, 9))):
        step = STEPS[data.draw(st.sampled_from(sorted(STEPS)))]
        a, b = (data.draw(st.sampled_from(values[-4:])) for _ in range(2))
        lines.append(step.format(new=f"v{place}", a=a, b=b))
        values.append(f"v{place}")
    extra = data.draw(st.sampled_from(values[1:]))
    outputs = f"float[] {values[-1]}" + (f", float[] {extra}" if extra != values[-1] else "")
    text = "\n".join(lines).replace("conv(", "Conv <pads = [1,1,1,1]> (")
    constants = {**WEIGHTS, "depthwise": filters(32, 1, 3, 3)}
    model = text_model(text, {k: v for k, v in constants.items() if f", {k})" in text}, inputs=INPUT, outputs=outputs)
    small = compress(model, skip_first=data.draw(st.integers(0, 1)), select="all")
    assert [value.name for value in small.graph.output] == [value.name for value in model.graph.output]
    if haste_convs(small):
        assert_same_function(model, small, library=has_library)
