"""Which convolutions are rewritten, and the sentence for each that is not."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from haste_export import Plan, compress, compress_with_report
from haste_export.errors import OptionError
from tests.exporter.models import (
    Array,
    assert_same_function,
    attributes,
    filters,
    haste_convs,
    initializer,
    op_types,
    relative_error,
    run,
    session,
    text_model,
    vector,
)


def only_layer(model: onnx.ModelProto, **options: Any) -> str:
    """The sentence about the one layer of a model, which must stay as it is."""
    small, report = compress_with_report(model, skip_first=0, select="all", **options)
    (layer,) = report.layers
    assert layer.status == "left"
    assert small == model
    return layer.sentence


@pytest.mark.parametrize(
    ("window", "weights", "inputs", "reason"),
    [
        ("strides = [2,2]", (16, 16, 3, 3), "float[1,16,9,8] x", "stride 2"),
        ("strides = [1,2]", (16, 16, 3, 3), "float[1,16,9,8] x", "stride 1 by 2"),
        ("dilations = [2,2]", (16, 16, 3, 3), "float[1,16,9,8] x", "dilation 2"),
        ("group = 16", (16, 1, 3, 3), "float[1,16,9,8] x", "it has 16 groups"),
        ("group = 2", (16, 8, 3, 3), "float[1,16,9,8] x", "it has 2 groups"),
        ("group = 1", (16, 16, 3), "float[1,16,9] x", "it is a 1-D convolution"),
        ("group = 1", (4, 4, 3, 3, 3), "float[1,4,5,5,5] x", "it is a 3-D convolution"),
        ("pads = [70,0,70,0]", (1, 1, 65, 3), "float[1,1,9,8] x", "its kernel is 65 by 3, larger than 64 by 64"),
        ("group = 1", (1, 65536, 1, 1), "float[1,65536,2,2] x", "it has 65536 input channels, more than 65535"),
        ("group = 1", (2**24 + 1, 1, 1, 1), "float[1,1,1,1] x", "it has 16777217 output channels, more than 16777216"),
        ("pads = [0,1048577,0,0]", (16, 16, 3, 3), "float[1,16,9,8] x", "its padding is larger than 1048576"),
        ("pads = [0,-1,0,0]", (16, 16, 3, 3), "float[1,16,9,8] x", "it has negative padding"),
    ],
)
def test_forms_that_stay(window: str, weights: tuple[int, ...], inputs: str, reason: str) -> None:
    model = text_model(f"[layer] y = Conv <{window}> (x, w)", {"w": filters(*weights)}, inputs=inputs)
    assert only_layer(model) == f"Conv 'layer': {reason}, left alone."


@pytest.mark.parametrize(("kind", "name"), [(np.float16, "float16"), (np.float64, "double")])
def test_other_types_stay(kind: Any, name: str) -> None:
    model = text_model("[layer] y = Conv (x, w)", {"w": filters(16, 16, 3, 3).astype(kind)},
                       inputs=f"{name}[1,16,9,8] x", outputs=f"{name}[] y")  # fmt: skip
    assert only_layer(model) == f"Conv 'layer': its weights are {name}, not float32, left alone."


def test_weights_from_outside_stay() -> None:
    model = text_model("[layer] y = Conv (x, w)", inputs="float[1,16,9,8] x, float[16,16,3,3] w")
    assert "its weights are computed at run time" in only_layer(model)


def test_weights_that_can_be_overridden_stay() -> None:
    model = text_model("[layer] y = Conv (x, w)", {"w": filters(16, 16, 3, 3)},
                       inputs="float[1,16,9,8] x, float[16,16,3,3] w")  # fmt: skip
    assert "its weights are computed at run time" in only_layer(model)


def test_a_bias_from_outside_stays() -> None:
    model = text_model("[layer] y = Conv (x, w, b)", {"w": filters(16, 16, 3, 3)},
                       inputs="float[1,16,9,8] x, float[16] b")  # fmt: skip
    assert "its bias is computed at run time" in only_layer(model)


def test_quantised_weights_stay() -> None:
    body = "d = DequantizeLinear (q, scale, zero)\n[layer] y = Conv (x, d)"
    constants: dict[str, Array] = {
        "q": np.ones((16, 16, 3, 3), np.int8),
        "scale": np.array(0.5, np.float32),
        "zero": np.array(0, np.int8),
    }
    assert only_layer(text_model(body, constants)) == "Conv 'layer': it is quantized, left alone."


def test_weights_of_old_models_are_inputs_as_well(has_library: bool) -> None:
    model = text_model("y = Conv (x, w)", {"w": filters(16, 16, 3, 3)},
                       inputs="float[1,16,9,8] x, float[16,16,3,3] w", opset=8)  # fmt: skip
    model.ir_version = 3
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert [value.name for value in small.graph.input] == ["x", "haste_hyperplanes"]
    assert_same_function(model, small, library=has_library)


WEIGHT_FORMS: dict[str, tuple[str, dict[str, Array]]] = {
    "initializer": ("y = Conv <pads = [1,1,1,1]> (x, w)", {"w": filters(16, 16, 3, 3)}),
    "Identity": (
        "v = Identity (w)\nu = Identity (v)\ny = Conv <pads = [1,1,1,1]> (x, u)",
        {"w": filters(16, 16, 3, 3)},
    ),
    "ConstantOfShape": (
        "v = ConstantOfShape <value = float[1] {0.125}> (s)\ny = Conv <pads = [1,1,1,1]> (x, v)",
        {"s": np.array([16, 16, 3, 3])},
    ),
    "expression": (
        "t = Transpose <perm = [3,2,0,1]> (w)\nk = Constant <value = float {0.5}> ()\nu = Mul (t, k)\n"
        "y = Conv <pads = [1,1,1,1]> (x, u)",
        {"w": filters(3, 3, 16, 16)},
    ),
}


@pytest.mark.parametrize("form", WEIGHT_FORMS)
def test_forms_of_constant_weights(form: str, has_library: bool) -> None:
    body, constants = WEIGHT_FORMS[form]
    model = text_model(body, constants)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


def test_weights_in_a_constant_node(has_library: bool) -> None:
    model = text_model("y = Conv <pads = [1,1,1,1]> (x, w)")
    tensor = numpy_helper.from_array(filters(16, 16, 3, 3))
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w"], value=tensor))
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (7, 7), (1, 7), (7, 1), (2, 4), (3, 5)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 3, 0), (4, 4, 4, 4)])
@pytest.mark.parametrize(("c", "m"), [(16, 16), (17, 20), (3, 1)])
def test_every_kernel_and_padding(
    kernel: tuple[int, int], pads: tuple[int, ...], c: int, m: int, has_library: bool
) -> None:
    model = text_model(
        f"y = Conv <pads = {list(pads)}> (x, w, b)", {"w": filters(m, c, *kernel), "b": vector(m)},
        inputs=f"float[2,{c},9,8] x",
    )  # fmt: skip
    small = compress(model, skip_first=0, select="all")
    (node,) = haste_convs(small)
    values = attributes(node)
    assert tuple(values["kernel_shape"]) == kernel
    assert tuple(values["pads"]) == pads
    window = (values["patch"] + kernel[0] - 1) * (values["patch"] + kernel[1] - 1)
    assert initializer(small, node.input[3]).shape == (32, window)
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kernel", [(2, 3), (4, 4)])
def test_auto_pad_becomes_explicit(mode: str, kernel: tuple[int, int], has_library: bool) -> None:
    model = text_model(f'y = Conv <auto_pad = "{mode}"> (x, w)', {"w": filters(16, 16, *kernel)})
    small = compress(model, skip_first=0, select="all")
    assert len(haste_convs(small)) == 1
    assert_same_function(model, small, library=has_library)


THREE = "\n".join([
    "[a] p = Conv <pads = [1,1,1,1]> (x, w)",
    "[b] q = Conv <pads = [1,1,1,1]> (p, w)",
    "[b1] y = Conv <pads = [1,1,1,1]> (q, w)",
])  # fmt: skip


@pytest.mark.parametrize(
    ("options", "rewritten", "reason"),
    [
        ({}, {"b", "b1"}, "it is the first convolution"),
        ({"skip_first": 0}, {"a", "b", "b1"}, None),
        ({"skip_first": 2}, {"b1"}, "it is among the first 2 convolutions"),
        ({"skip_first": 0, "include": ["b"]}, {"b"}, "no --include matches it"),
        ({"skip_first": 0, "include": ["re:^b"]}, {"b", "b1"}, "no --include matches it"),
        ({"skip_first": 0, "exclude": ["a"]}, {"b", "b1"}, "--exclude a matches it"),
        ({"skip_first": 0, "exclude": ["re:a"], "include": ["a", "b"]}, {"b"}, "--exclude re:a matches it"),
        ({"skip_first": 0, "plan": Plan({"a": "it is slower"})}, {"b", "b1"}, "it is slower"),
        ({"skip_first": 0, "plan": Plan.from_hyperplanes({"a": None, "b": 0})}, {"b", "b1"}, "the plan keeps it"),
    ],
)
def test_choice_by_option(options: dict[str, Any], rewritten: set[str], reason: str | None, has_library: bool) -> None:
    model = text_model(THREE, {"w": filters(16, 16, 3, 3)})
    small, report = compress_with_report(model, select="all", **{key: _tuple(value) for key, value in options.items()})
    assert {layer.name for layer in report.rewritten} == rewritten == {node.name for node in haste_convs(small)}
    if reason is not None:
        assert report.layer("a").reason == reason
    assert_same_function(model, small, library=has_library)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize(
    "options", [{"exclude": ("conv9",)}, {"include": ("re:head",)}, {"plan": Plan({"conv9": ""})},
                {"input_shapes": {"image": (1, 16, 9, 8)}}, {"input_shapes": {"x": (1, 16, 9)}},
                {"input_shapes": {"x": (2, 16, 9, 8)}}]
)  # fmt: skip
def test_names_that_the_model_does_not_have(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        compress(text_model(THREE, {"w": filters(16, 16, 3, 3)}), **options)


def test_negative_sizes_are_open(has_library: bool) -> None:
    """Taken for numbers they would be equal, and what broadcasts would become a residual."""
    model = text_model("c = Conv <pads = [1,1,1,1]> (x, w)\ny = Add (c, z)", {"w": filters(16, 16, 3, 3)},
                       inputs="float[n,16,h,v] x, float[n,16,h,v] z")  # fmt: skip
    for value in model.graph.input:
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_value = -1
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv", "Add"]
    assert all(dim.dim_value >= 0 for value in small.graph.input for dim in value.type.tensor_type.shape.dim)
    x, z = np.ones((1, 16, 9, 8), np.float32), np.ones((1, 16, 1, 1), np.float32)
    feeds = {"x": x, "z": z}
    (expected,), (actual,) = (
        session(one, library=has_library and one is small).run(
            None, feeds if one is model else {**feeds, "haste_hyperplanes": np.array(0)}
        )
        for one in (model, small)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    fixed = compress(model, skip_first=0, select="all", input_shapes={"x": (1, 16, 9, 8)})
    assert [dim.dim_value for dim in fixed.graph.input[0].type.tensor_type.shape.dim] == [1, 16, 9, 8]


def test_unnamed_and_equally_named_layers_get_names_of_their_own(has_library: bool) -> None:
    body = THREE.replace("[a] ", "").replace("[b] ", "").replace("b1", "Conv_0")
    model = text_model(body, {"w": filters(16, 16, 3, 3)})
    small, report = compress_with_report(model, skip_first=0, select="all")
    assert [layer.name for layer in report.layers] == ["Conv_1", "Conv_2", "Conv_0"]
    model = text_model(THREE.replace("[a]", "[b]"), {"w": filters(16, 16, 3, 3)})
    small, report = compress_with_report(model, skip_first=0, select="all")
    assert len({layer.name for layer in report.layers}) == 3
    session(small, library=has_library)  # the original does not load: its nodes share a name


def test_branches_are_rewritten_where_their_weights_are_known(has_library: bool) -> None:
    body = """
        p = Conv <pads = [1,1,1,1]> (x, w)
        y = If (flag) <
            then_branch = then_body () => (float[n,16,h,k] t) { t0 = Conv <pads = [1,1,1,1]> (p, w) t = Relu (t0) },
            else_branch = else_body () => (float[n,16,h,k] e) { e = Conv <pads = [1,1,1,1]> (x, v) }>"""
    inputs = "float[1,16,9,8] x, bool flag"
    model = text_model(body, {"w": filters(16, 16, 3, 3), "v": filters(16, 16, 3, 3, seed=1)}, inputs=inputs)
    small, report = compress_with_report(model, skip_first=0, select="all")
    assert len(report.rewritten) == 3
    (branching,) = [node for node in small.graph.node if node.op_type == "If"]
    assert [node.op_type for node in branching.attribute[0].g.node] == ["HasteConv"]
    assert attributes(haste_convs(small)[0])["y_layout"] == "NCHW"
    for flag in (False, True):
        assert_same_run(model, small, {"flag": np.array(flag)}, has_library)


def test_loop_bodies_are_rewritten_where_their_weights_are_known(has_library: bool) -> None:
    body = """
        y = Loop (trips, , x) <body = step (int64 i, bool go, float[n,16,h,k] s) => (bool on, float[n,16,h,k] r) {
            on = Identity (go)
            c = Conv <pads = [1,1,1,1]> (s, w)
            d = Conv <pads = [1,1,1,1]> (c, own)
            t = Add (d, s)
            r = Relu (t)
        }>"""
    model = text_model(body, {"w": filters(16, 16, 3, 3)}, inputs="float[1,16,9,8] x, int64 trips",
                       outputs="float[n,16,h,k] y")  # fmt: skip
    inside = model.graph.node[0].attribute[0].g
    inside.node.insert(0, onnx.helper.make_node(
        "Constant", [], ["own"], value=numpy_helper.from_array(filters(16, 16, 3, 3, seed=1))))  # fmt: skip
    small, report = compress_with_report(model, skip_first=0, select="all")
    assert len(report.rewritten) == 2
    bodies = [node.attribute[0].g for node in small.graph.node if node.op_type == "Loop"]
    assert [node.op_type for node in bodies[0].node] == ["Identity", "HasteConv", "HasteConv"]
    assert [attributes(node)["y_layout"] for node in bodies[0].node[1:]] == ["blocked", "NCHW"]
    assert_same_run(model, small, {"trips": np.array(3)}, has_library)


def assert_same_run(model: onnx.ModelProto, small: onnx.ModelProto, feeds: dict[str, Array], has_library: bool) -> None:
    onnx.checker.check_model(small, full_check=True)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 16, 9, 8)).astype(np.float32), **feeds}
    expected = run(model, feeds)
    assert relative_error(expected, run(small, feeds)) < 1e-5
    if has_library:
        dense = {**feeds, "haste_hyperplanes": np.array(0)}
        assert relative_error(expected, run(small, dense, library=True)) < 1e-5
