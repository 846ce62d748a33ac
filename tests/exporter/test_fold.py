"""Batch norm and per-channel arithmetic behind a Conv are folded; everything else stays where it is."""

from typing import Any

import numpy as np
import onnx
import pytest

from haste_export import compress
from tests.exporter.models import Array, assert_same_function, filters, op_types, text_model, vector


def batch_norm_constants(count: int) -> dict[str, Array]:
    return {
        "gamma": vector(count, 1, low=0.5, high=2),
        "beta": vector(count, 2),
        "mean": vector(count, 3),
        "var": vector(count, 4, low=0.2, high=2),
    }


CONV = "c = Conv <pads = [1,1,1,1]> (x, w)"
NORM = "y = BatchNormalization <epsilon = 0.01> (c, gamma, beta, mean, var)"
WEIGHTS = {"w": filters(16, 16, 3, 3)}


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 17])
@pytest.mark.parametrize("bias", [False, True])
def test_batch_norm_folds(opset: int, bias: bool, has_library: bool) -> None:
    conv = CONV.replace("w)", "w, b)") if bias else CONV
    constants = {**WEIGHTS, **batch_norm_constants(16), **({"b": vector(16, 9)} if bias else {})}
    model = text_model(f"{conv}\n{NORM}", constants, opset=opset)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


def test_batch_norm_folds_into_a_conv_that_stays(has_library: bool) -> None:
    model = text_model(
        f"{CONV}\nn = BatchNormalization (c, gamma, beta, mean, var)\ny = Conv (n, w)",
        {**WEIGHTS, **batch_norm_constants(16)},
    )
    small = compress(model, select="all")
    assert op_types(small) == ["Conv", "HasteConv"]
    assert_same_function(model, small, library=has_library)


def test_batch_norm_folds_into_a_depthwise_conv(has_library: bool) -> None:
    model = text_model(
        "c = Conv <group = 16> (x, w)\nn = BatchNormalization (c, gamma, beta, mean, var)\ny = Conv (n, v)",
        {"w": filters(16, 1, 3, 3), "v": filters(16, 16, 1, 1), **batch_norm_constants(16)},
    )
    small = compress(model, select="all")
    assert op_types(small) == ["Conv", "HasteConv"]
    assert_same_function(model, small, library=has_library)


def test_weights_shared_by_two_batch_norms_fold_apart(has_library: bool) -> None:
    model = text_model(
        f"{CONV}\nn = BatchNormalization (c, gamma, beta, mean, var)\nd = Conv <pads = [1,1,1,1]> (n, w)\n"
        "y = BatchNormalization (d, gamma, mean, beta, var)",
        {**WEIGHTS, **batch_norm_constants(16)},
    )
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv", "HasteConv"]
    assert_same_function(model, small, library=has_library)


def stays(body: str, constants: dict[str, Array], op_type: str, **options: Any) -> None:
    model = text_model(body, constants, **options)
    small = compress(model, skip_first=0, select="all")
    assert op_type in op_types(small)
    assert_same_function(model, small, library=False)


def test_batch_norm_behind_a_conv_with_another_reader_stays() -> None:
    stays(f"{CONV}\n{NORM}\nz = Neg (c)", {**WEIGHTS, **batch_norm_constants(16)}, "BatchNormalization",
          outputs="float[] y, float[] z")  # fmt: skip


def test_batch_norm_with_parameters_from_outside_stays() -> None:
    constants = {**WEIGHTS, **batch_norm_constants(16)}
    del constants["gamma"]
    inputs = "float[1,16,9,8] x, float[16] gamma"
    stays(f"{CONV}\n{NORM}", constants, "BatchNormalization", inputs=inputs)


def test_batch_norm_in_training_stays() -> None:
    norm = "y, m, v = BatchNormalization <training_mode = 1> (c, gamma, beta, mean, var)"
    stays(f"{CONV}\n{norm}", {**WEIGHTS, **batch_norm_constants(16)}, "BatchNormalization")


@pytest.mark.parametrize("shape", [(16, 1, 1), (1, 16, 1, 1), (1, 1, 1), (1,), ()])
@pytest.mark.parametrize("op_type", ["Mul", "Add", "Div", "Sub"])
def test_per_channel_arithmetic_folds(op_type: str, shape: tuple[int, ...], has_library: bool) -> None:
    constant = vector(int(np.prod(shape)), 5, low=0.5, high=2).reshape(shape)
    model = text_model(f"{CONV}\ny = {op_type} (c, k)", {**WEIGHTS, "k": constant})
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize("op_type", ["Mul", "Add"])
def test_the_constant_may_come_first(op_type: str, has_library: bool) -> None:
    model = text_model(f"{CONV}\ny = {op_type} (k, c)", {**WEIGHTS, "k": vector(16, 5).reshape(16, 1, 1)})
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


def test_batch_norm_as_old_exporters_write_it(has_library: bool) -> None:
    body = f"""{CONV}
        n = BatchNormalization (c, gamma, beta, mean, var)
        k3 = Unsqueeze <axes = [1, 2]> (k)
        scaled = Mul (n, k3)
        d3 = Unsqueeze <axes = [1, 2]> (d)
        shifted = Add (scaled, d3)
        y = Relu (shifted)"""
    constants = {**WEIGHTS, **batch_norm_constants(16), "k": vector(16, 6), "d": vector(16, 7)}
    model = text_model(body, constants, opset=9)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


def test_a_scale_in_front_of_relu_and_conv_stays_put(has_library: bool) -> None:
    body = """
        k3 = Unsqueeze <axes = [1, 2]> (k)
        scaled = Mul (x, k3)
        shifted = Add (scaled, k3)
        r = Relu (shifted)
        y = Conv <pads = [1,1,1,1]> (r, w)"""
    model = text_model(body, {**WEIGHTS, "k": vector(16, 6)}, opset=9)
    small = compress(model, skip_first=0, select="all")
    assert [name for name in op_types(small) if name != "Unsqueeze"] == ["Mul", "Add", "Relu", "HasteConv"]
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("y = Mul (c, k)", (9, 8)),
        ("y = Mul (c, k)", (8,)),
        ("y = Add (c, k)", (1, 1, 16, 1, 1)),
        ("y = Div (k, c)", (16, 1, 1)),
        ("y = Sub (k, c)", (16, 1, 1)),
    ],
)
def test_other_arithmetic_stays(line: str, shape: tuple[int, ...]) -> None:
    constant = vector(int(np.prod(shape)), 5, low=0.5, high=2).reshape(shape)
    stays(f"{CONV}\n{line}", {**WEIGHTS, "k": constant}, line.split()[2])


def test_division_by_zero_stays() -> None:
    model = text_model(f"{CONV}\ny = Div (c, k)", {**WEIGHTS, "k": np.zeros((16, 1, 1), np.float32)})
    assert "Div" in op_types(compress(model, skip_first=0, select="all"))


def test_arithmetic_by_a_value_from_outside_stays() -> None:
    stays(f"{CONV}\ny = Mul (c, k)", WEIGHTS, "Mul", inputs="float[1,16,9,8] x, float[16,1,1] k")


def test_arithmetic_by_an_overridable_initializer_stays() -> None:
    model = text_model(f"{CONV}\ny = Mul (c, k)", {**WEIGHTS, "k": vector(16).reshape(16, 1, 1)})
    model.graph.input.append(onnx.helper.make_tensor_value_info("k", onnx.TensorProto.FLOAT, [16, 1, 1]))
    assert "Mul" in op_types(compress(model, skip_first=0, select="all"))


def test_folding_keeps_the_layer_name(has_library: bool) -> None:
    model = text_model(f"[layer1] {CONV}\n{NORM}", {**WEIGHTS, **batch_norm_constants(16)})
    small = compress(model, skip_first=0, select="all")
    assert [node.name for node in small.graph.node] == ["layer1"]
    assert_same_function(model, small, library=has_library)


PADS = {
    "opset 7": ("p = Pad <pads = [0,0,1,2,0,0,3,0]> (x)", {}, 7),
    "opset 11": ("p = Pad (x, pads)", {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])}, 11),
    "value": ("p = Pad (x, pads, v)", {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "v": np.array(0, np.float32)}, 17),
}


@pytest.mark.parametrize("form", PADS)
@pytest.mark.parametrize("own", ["pads = [1,0,0,1]", 'auto_pad = "VALID"'])
def test_zeros_around_the_image_fold(form: str, own: str, has_library: bool) -> None:
    line, constants, opset = PADS[form]
    model = text_model(f"{line}\ny = Conv <{own}> (p, w)", {**WEIGHTS, **constants}, opset=opset)
    small = compress(model, skip_first=0, select="all")
    assert op_types(small) == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize(
    ("line", "constants", "own"),
    [
        ('p = Pad <mode = "reflect"> (x, pads)', {"pads": [0, 0, 1, 2, 0, 0, 3, 0]}, "pads = [0,0,0,0]"),
        ("p = Pad (x, pads)", {"pads": [0, 0, 1, 2, 0, 0, -3, 0]}, "pads = [0,0,0,0]"),
        ("p = Pad (x, pads)", {"pads": [1, 0, 1, 2, 0, 0, 3, 0]}, "pads = [0,0,0,0]"),
        ("p = Pad (x, pads)", {"pads": [0, 0, 1, 2, 0, 0, 3, 0]}, 'auto_pad = "SAME_UPPER"'),
        ("v = Constant <value = float {1}> ()\np = Pad (x, pads, v)", {"pads": [0, 0, 1, 2, 0, 0, 3, 0]}, "group = 1"),
        ("p = Pad (x, pads, , axes)", {"pads": [1, 2], "axes": [2]}, "group = 1"),
    ],
)
def test_other_padding_stays(line: str, constants: dict[str, list[int]], own: str) -> None:
    arrays = {name: np.array(value) for name, value in constants.items()}
    stays(f"{line}\ny = Conv <{own}> (p, w)", {**WEIGHTS, **arrays}, "Pad", opset=18)


def test_a_padded_image_with_another_reader_stays() -> None:
    body = "p = Pad (x, pads)\ny = Conv (p, w)\nz = Neg (p)"
    stays(body, {**WEIGHTS, "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])}, "Pad", outputs="float[] y, float[] z")
