"""Activations and residuals behind a HasteConv become part of it, but only where that changes nothing."""

import pytest

from haste_export import compress
from tests.exporter.models import assert_same_function, attributes, filters, haste_convs, op_types, text_model

CONV = "c = Conv <pads = [1,1,1,1]> (x, w)"
WEIGHTS = {"w": filters(16, 16, 3, 3)}


@pytest.mark.parametrize(
    ("line", "outputs"),
    [
        ("y = Relu (c)\nz = Neg (c)", "float[] y, float[] z"),  # another reader of the convolution
        ("y = Relu (c)", "float[] y, float[] c"),  # the convolution is an output itself
        ("y = Softplus (c)", "float[] y"),  # an activation that HasteConv does not have
        ("s = HardSigmoid <alpha = 0.2> (c)\ny = Mul (c, s)", "float[] y"),  # not the gate of a HardSwish
        ("s = Sigmoid (c)\ny = Mul (c, s)\nz = Neg (s)", "float[] y, float[] z"),  # another reader of the gate
    ],
)
def test_an_activation_stays(line: str, outputs: str, has_library: bool) -> None:
    model = text_model(f"{CONV}\n{line}", WEIGHTS, outputs=outputs)
    small = compress(model, skip_first=0, select="all")
    (node,) = haste_convs(small)
    assert attributes(node)["activation"] == ""
    assert_same_function(model, small, library=has_library)


def test_only_the_first_of_two_activations_fuses(has_library: bool) -> None:
    model = text_model(f"{CONV}\nr = Relu (c)\ny = Sigmoid (r)", WEIGHTS)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv", "Sigmoid"]
    assert_same_function(model, small, library=has_library)


def test_clip_with_bounds_from_outside_stays() -> None:
    model = text_model(f"{CONV}\ny = Clip (c, low)", WEIGHTS, inputs="float[1,16,9,8] x, float low")
    assert op_types(compress(model, skip_first=0, select="all")) == ["HasteConv", "Clip"]


def test_clip_with_one_bound_fuses(has_library: bool) -> None:
    model = text_model(f"{CONV}\nk = Constant <value = float {{0.25}}> ()\ny = Clip (c, , k)", WEIGHTS)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


def test_an_activation_of_a_plain_conv_stays_beside_it() -> None:
    model = text_model(f"{CONV}\nr = Relu (c)\ny = Conv (r, w)", WEIGHTS)
    assert op_types(compress(model, select="all")) == ["Conv", "Relu", "HasteConv"]


@pytest.mark.parametrize("op_type", ["Add", "Sum"])
@pytest.mark.parametrize("operands", ["c, x", "x, c"])
def test_a_residual_fuses(op_type: str, operands: str, has_library: bool) -> None:
    model = text_model(f"{CONV}\ns = {op_type} ({operands})\ny = Relu (s)", WEIGHTS)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert list(haste_convs(small)[0].input[5:]) == ["x"]
    assert_same_function(model, small, library=has_library)


def test_nodes_without_a_residual_pass_a_scalar(has_library: bool) -> None:
    model = text_model(f"{CONV}\nd = Conv <pads = [1,1,1,1]> (c, w)\ny = Add (d, c)", WEIGHTS)
    small = compress(model, skip_first=0, select="all")
    first, second = haste_convs(small)
    (zero,) = [tensor for tensor in small.graph.initializer if tensor.name == first.input[5]]
    assert list(zero.dims) == []
    assert second.input[5] == "c"
    assert not any(name == "" for node in small.graph.node for name in node.input)
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize("operands", ["a, b", "b, a"])
def test_of_two_convs_the_later_takes_the_residual(operands: str, has_library: bool) -> None:
    model = text_model(
        f"a = Conv <pads = [1,1,1,1]> (x, w)\nb = Conv <pads = [1,1,1,1]> (x, v)\ny = Add ({operands})",
        {**WEIGHTS, "v": filters(16, 16, 3, 3, seed=1)},
    )
    small = compress(model, skip_first=0, select="all")
    first, second = haste_convs(small)
    assert second.input[5] == first.output[0] == "a"
    assert_same_function(model, small, library=has_library)


def test_the_sum_of_a_conv_with_itself_stays(has_library: bool) -> None:
    model = text_model(f"{CONV}\ny = Add (c, c)", WEIGHTS)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv", "Add"]
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize(
    ("line", "inputs"),
    [
        ("y = Add (c, z)", "float[1,16,9,8] x, float[1,16,1,1] z"),  # broadcast
        ("y = Add (c, z)", "float[1,16,9,8] x, float[1,1,9,8] z"),
        ("y = Add (c, z)", "float[1,16,9,8] x, float[2,16,9,8] z"),  # the convolution is broadcast
        ("y = Add (c, z)", "float[1,16,9,8] x, float[n,16,9,8] z"),  # may be equal, may be not
        ("y = Sum (c, z, z)", "float[1,16,9,8] x, float[1,16,9,8] z"),
    ],
)
def test_another_sum_stays(line: str, inputs: str) -> None:
    model = text_model(f"{CONV}\n{line}", WEIGHTS, inputs=inputs)
    small = compress(model, skip_first=0, select="all")
    assert len(small.graph.node) == 2
    assert_same_function(model, small, library=False)


def test_a_residual_behind_the_activation_stays(has_library: bool) -> None:
    model = text_model(f"{CONV}\nr = Relu (c)\ny = Add (r, x)", WEIGHTS)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv", "Add"]
    assert_same_function(model, small, library=has_library)


def test_a_second_residual_stays(has_library: bool) -> None:
    model = text_model(f"{CONV}\ns = Add (c, x)\ny = Add (s, x)", WEIGHTS)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv", "Add"]
    assert_same_function(model, small, library=has_library)


def test_residuals_fuse_with_dynamic_sizes(has_library: bool) -> None:
    body = """
        a = Conv <pads = [1,1,1,1], strides = [2,2]> (x, w)
        b = Conv <pads = [1,1,1,1]> (a, w)
        s = Conv <strides = [2,2]> (x, p)
        t = Add (b, s)
        r = Relu (t)
        c = Conv <pads = [1,1,1,1]> (r, w)
        y = Add (c, r)"""
    model = text_model(body, {**WEIGHTS, "p": filters(16, 16, 1, 1)}, inputs="float[n,16,h,w_] x")
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["Conv", "Conv", "HasteConv", "HasteConv"]
    assert_same_function(model, small, library=has_library, dynamic=11)
