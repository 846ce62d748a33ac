"""What HasteConv as a node refuses, at load or at run, in a sentence that names it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from haste_export.reference import pack
from tests.operator.cases import build
from tests.operator.onnx_layer import LAYER, REFUSALS, Feeds, attributes_of, constants_of, library_path, run, run_case
from tests.operator.onnx_models import haste_model, session

pytestmark = pytest.mark.usefixtures("library")


def assert_refused(constants: Feeds, feeds: Feeds, sentence: str, **attributes: Any) -> None:
    """A clean error at load or at run that says `sentence` and names the node."""
    with pytest.raises(REFUSALS, match=sentence) as error:
        run(constants, feeds, **attributes)
    assert "conv_of_the_test" in str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"X": np.zeros((1, 32, 8), np.float32)}, "X has shape"),
        ({"X": np.zeros((32, 8), np.float32)}, "X has shape"),
        ({"X": np.zeros((1, 1, 32, 8, 8), np.float32)}, "X has shape"),
        ({"X": np.zeros((1, 31, 8, 8), np.float32)}, "31 channels"),
        ({"X": np.zeros((1, 0, 8, 8), np.float32)}, "0 channels"),
        ({"X": np.zeros((1, 32, 0, 8), np.float32)}, "0x8"),
        ({"X": np.zeros((1, 32, 8, 0), np.float32)}, "8x0"),
        ({"L": np.array(8, np.int64)}, "L = 8"),
        ({"L": np.array(2**62, np.int64)}, "L = "),
        ({"L": np.zeros(0, np.int64)}, "L has shape"),
        ({"L": np.zeros(2, np.int64)}, "L has shape"),
        ({"Z": np.zeros((1, 32, 8, 10), np.float32)}, "residual"),
        ({"Z": np.zeros((1,), np.float32)}, "residual"),
        ({"Z": np.zeros((2, 32, 8, 11), np.float32)}, "residual"),
        ({"T": np.zeros(2, np.float32)}, "T has shape"),
        ({"T": np.zeros(0, np.float32)}, "T has shape"),
    ],
)
def test_bad_feeds(change: Feeds, sentence: str) -> None:
    problem = build(LAYER)
    feeds: Feeds = {"X": problem.x[:1], "L": np.array(6, np.int64), **change}
    assert_refused(constants_of(problem), feeds, sentence, **attributes_of(LAYER))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"W": np.zeros((32, 32, 3), np.float32)}, "W has shape"),
        ({"W": np.zeros((32, 32, 3, 5), np.float32)}, "W has shape"),
        ({"W": np.zeros((31, 32, 3, 3), np.float32)}, "31 filters"),
        ({"W": np.zeros((0, 32, 3, 3), np.float32)}, "filters"),
        ({"W": np.zeros((32, 0, 3, 3), np.float32)}, "channels"),
        ({"W": np.zeros((0, 32, 3, 3), np.float32), "B": np.zeros(0, np.float32)}, "channels"),
        ({"B": np.zeros((32, 1), np.float32)}, "B has shape"),
        ({"B": np.zeros(33, np.float32)}, "33"),
        ({"B": np.zeros((), np.float32)}, "B has shape"),
        ({"V": np.zeros((6, 9), np.int8)}, "V has shape"),
        ({"V": np.zeros(150, np.int8)}, "V has shape"),
        ({"V": np.zeros((0, 25), np.int8)}, "hyperplanes"),
        ({"V": np.zeros((33, 25), np.int8)}, "33"),
        ({"V": np.full((6, 25), 2, np.int8)}, "-1, 0 and 1"),
        ({"V": np.full((6, 25), -128, np.int8)}, "-128"),
    ],
)
def test_bad_weights(change: Feeds, sentence: str, constant: bool) -> None:
    problem = build(LAYER)
    constants = {**constants_of(problem), **change}
    feeds: Feeds = {"X": problem.x, "L": np.array(6, np.int64)}
    if not constant:
        feeds |= {name: constants.pop(name) for name in change}
    assert_refused(constants, feeds, sentence, **attributes_of(LAYER))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"strides": [2, 2]}, "strides"),
        ({"strides": [1, 2]}, "strides"),
        ({"dilations": [2, 1]}, "dilations"),
        ({"group": 2}, "group"),
        ({"patch": 0}, "patch"),
        ({"patch": -1}, "patch"),
        ({"merge": "median"}, "merge"),
        ({"activation": "Gelu"}, "Gelu"),
        ({"activation": "Clip"}, "activation_params"),
        ({"activation": "Clip", "activation_params": [0.0]}, "activation_params"),
        ({"activation": "LeakyRelu"}, "activation_params"),
        ({"w_layout": "HWIO"}, "HWIO"),
        ({"x_layout": "NHWC"}, "NHWC"),
        ({"y_layout": ""}, "layout"),
        ({"auto_pad": "SAME"}, "auto_pad"),
        ({"pads": [-1, 0, 0, 0]}, "pad"),
        ({"pads": [1, 1]}, "pads"),
        ({"kernel_shape": [3]}, "kernel_shape"),
        ({"kernel_shape": [3, 3, 3]}, "kernel_shape"),
        ({"kernel_shape": [5, 5]}, "kernel_shape"),
        ({"strides": [1]}, "strides"),
    ],
)
def test_bad_attributes(change: dict[str, Any], sentence: str) -> None:
    problem = build(LAYER)
    feeds: Feeds = {"X": problem.x, "L": np.array(6, np.int64)}
    assert_refused(constants_of(problem), feeds, sentence, **(attributes_of(LAYER) | change))


@pytest.mark.parametrize("layout", ["x_layout", "y_layout", "z_layout"])
def test_blocked_needs_whole_blocks(layout: str) -> None:
    case = replace(LAYER, channels=20, outputs=20)
    problem = build(case)
    feeds: Feeds = {"X": problem.x, "L": np.array(6, np.int64)}
    assert_refused(constants_of(problem), feeds, "16", **(attributes_of(case) | {layout: "blocked"}))


def test_packed_weights_of_a_wrong_shape() -> None:
    case = replace(LAYER, w_layout="packed")
    problem = build(case)
    feeds: Feeds = {"X": problem.x, "L": np.array(6, np.int64)}
    for wrong in (problem.weights, pack(problem.weights)[:1], pack(problem.weights)[:, :, :8]):
        constants = {**constants_of(problem), "W": np.ascontiguousarray(wrong)}
        assert_refused(constants, feeds, "packed W", **attributes_of(case))
    attributes = attributes_of(case)
    del attributes["kernel_shape"]
    assert_refused(constants_of(problem), feeds, "kernel_shape", **attributes)


def test_kernel_larger_than_the_padded_input() -> None:
    problem = build(LAYER)
    feeds: Feeds = {"X": problem.x[:, :, :2, :2], "L": np.array(6, np.int64)}
    assert_refused(constants_of(problem), feeds, "does not fit", kernel_shape=[3, 3])


@pytest.mark.parametrize("x_type", [TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT32])
def test_wrong_type_of_x(x_type: int) -> None:
    made = haste_model(constants_of(build(LAYER)), x_type=x_type, **attributes_of(LAYER))
    with pytest.raises(REFUSALS, match=r"(?i)type"):
        session(made, library_path())


@pytest.mark.parametrize("name", ["W", "B", "V", "L"])
def test_wrong_type_of_a_constant(name: str) -> None:
    constants = {**constants_of(build(LAYER)), "L": np.array(6, np.int64)}
    constants[name] = constants[name].astype(np.int32)
    with pytest.raises(REFUSALS, match=r"(?i)type"):
        session(haste_model(constants, ("X",), **attributes_of(LAYER)), library_path())


def test_a_refused_run_leaves_the_session_usable() -> None:
    problem, y, _ = run_case(LAYER)
    one = session(haste_model(constants_of(problem), **attributes_of(LAYER)), library_path())
    for bad in (99, 2**40):
        with pytest.raises(REFUSALS, match="hyperplanes"):
            one.run(None, {"X": problem.x, "L": np.array(bad, np.int64)})
    assert (one.run(None, {"X": problem.x, "L": np.array(6, np.int64)})[0] == y).all()


def test_without_the_library() -> None:
    """A bare node, without the local function that an exported model carries, does not load; nothing runs wrong."""
    with pytest.raises(REFUSALS, match="HasteConv"):
        session(haste_model(constants_of(build(LAYER)), **attributes_of(LAYER)))
