"""HasteConv as a node in ONNX Runtime: what it computes, what it takes, and how it refuses the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from haste_export.contract import MERGES
from haste_export.reference import Float32, pack
from tests.operator import native
from tests.operator.bounds import tolerance
from tests.operator.c_api import from_memory, to_memory
from tests.operator.cases import ACTIVATIONS, Case, Problem, build
from tests.operator.compare import assert_stats, assert_within
from tests.operator.onnx_models import haste_model, model, run_conv, session

pytestmark = pytest.mark.usefixtures("library")
LAYER = Case(batch=2, channels=32, outputs=32, height=8, width=11, count=6, kind="relu", seed=21)
REFUSALS = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.InvalidGraph, ort_errors.RuntimeException)
Feeds = dict[str, NDArray[Any]]


def library_path() -> str:
    path = native.find_library()
    assert path is not None
    return str(path)


def constants_of(problem: Problem) -> Feeds:
    return {"W": problem.case.options.stored(problem.weights), "B": problem.bias, "V": problem.hyperplanes}


def attributes_of(case: Case) -> dict[str, Any]:
    params = ACTIVATIONS[case.activation]
    optional = {"activation_params": list(params)} if params else {}
    layouts = {"x_layout": case.x_layout, "z_layout": case.z_layout, "y_layout": case.y_layout}
    return {
        "kernel_shape": list(case.kernel),
        "pads": list(case.pads),
        "patch": case.patch,
        "merge": case.merge_how,
        "activation": case.activation,
        "w_layout": case.w_layout,
        **layouts,
        **optional,
    }


def in_memory(x: Float32, layout: str) -> Float32:
    """A tensor of the declared shape whose memory has the given layout."""
    return to_memory(x, layout).reshape(x.shape)


def run(constants: Feeds, feeds: Feeds, threads: int = 1, stats: bool = True, **attributes: Any) -> list[Float32]:
    w_type = helper.np_dtype_to_tensor_dtype(feeds["W"].dtype) if "W" in feeds else TensorProto.FLOAT
    ranks = {name: value.ndim for name, value in feeds.items()}
    made = haste_model(constants, tuple(feeds), stats, w_type=w_type, ranks=ranks, **attributes)
    outputs: list[Float32] = session(made, library_path(), threads).run(None, feeds)
    return outputs


def run_case(case: Case, threads: int = 1) -> tuple[Problem, Float32, Float32]:
    problem = build(case)
    feeds: Feeds = {"X": in_memory(problem.x, case.x_layout), "L": np.array(case.count, np.int64)}
    if problem.residual is not None:
        feeds["Z"] = in_memory(problem.residual, case.z_layout)
    if case.tau:
        feeds["T"] = np.array(case.tau, np.float32)
    y, stats = run(constants_of(problem), feeds, threads, **attributes_of(case))
    return problem, from_memory(y.reshape(-1), y.shape, case.y_layout), stats


def check_case(case: Case, threads: int = 1) -> None:
    problem, y, stats = run_case(case, threads)
    expected = problem.reference()
    assert_within(y.astype(np.float64), expected.y, tolerance(problem, expected))
    assert_stats(stats.astype(np.float64), expected.stats)


# -- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 6, 20])
def test_values_and_statistics(merge_how: str, threads: int, count: int) -> None:
    check_case(replace(LAYER, merge_how=merge_how, count=count), threads)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation(activation: str) -> None:
    check_case(replace(LAYER, activation=activation, residual=True))


@pytest.mark.parametrize("tau", [-1.0, 0.05, 0.5, float("nan")])
@pytest.mark.parametrize("residual", [False, True])
def test_tau_with_and_without_residual(tau: float, residual: bool) -> None:
    """Without a residual, its place in front of T is an empty name."""
    check_case(replace(LAYER, tau=tau, residual=residual))


@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
@pytest.mark.parametrize("x_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("z_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
def test_layouts(w_layout: str, x_layout: str, z_layout: str, y_layout: str) -> None:
    layouts = replace(LAYER, x_layout=x_layout, z_layout=z_layout, y_layout=y_layout)
    check_case(replace(layouts, w_layout=w_layout, residual=True))


@pytest.mark.parametrize("kernel", [(1, 1), (5, 5), (1, 3), (2, 2)])
@pytest.mark.parametrize("patch", [1, 3, 4])
def test_kernels(kernel: tuple[int, int], patch: int) -> None:
    check_case(replace(LAYER, channels=20, outputs=17, kernel=kernel, patch=patch, pads=(1, 0, 2, 3)))


def test_statistics_are_optional() -> None:
    problem, y, _ = run_case(LAYER)
    feeds: Feeds = {"X": problem.x, "L": np.array(6, np.int64)}
    (alone,) = run(constants_of(problem), feeds, stats=False, **attributes_of(LAYER))
    assert (alone == y).all()


def test_scalar_residual_is_none() -> None:
    """A rank-0 Z is how a node of a model with residuals says that it has none, whatever its value."""
    problem, y, _ = run_case(LAYER)
    feeds: Feeds = {"X": problem.x, "L": np.array(6, np.int64), "Z": np.array(0, np.float32)}
    assert (run(constants_of(problem), feeds, **attributes_of(LAYER))[0] == y).all()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_l_may_have_any_shape_of_one_element(shape: tuple[int, ...]) -> None:
    problem, y, _ = run_case(LAYER)
    feeds: Feeds = {"X": problem.x, "L": np.full(shape, 6, np.int64)}
    assert (run(constants_of(problem), feeds, **attributes_of(LAYER))[0] == y).all()


def test_steering_between_runs() -> None:
    """One session, one weight, one scalar: each L gives what a session of its own gives, dense what Conv gives."""
    problem = build(LAYER)
    attributes = attributes_of(LAYER)
    one = session(haste_model(constants_of(problem), **attributes), library_path())
    for count in (6, 0, 3, 6, 1, -4):
        feeds: Feeds = {"X": problem.x, "L": np.array(count, np.int64)}
        y, stats = one.run(None, feeds)
        fresh = run(constants_of(problem), feeds, **attributes)
        assert (y == fresh[0]).all()
        assert (stats == fresh[1]).all()
        assert (stats[2] == stats[1]) == (count <= 0)


def test_constant_l() -> None:
    problem, y, _ = run_case(LAYER)
    constants = {**constants_of(problem), "L": np.array(6, np.int64)}
    assert (run(constants, {"X": problem.x}, **attributes_of(LAYER))[0] == y).all()


def test_dynamic_shapes() -> None:
    """Batch and sizes change from run to run of one session, down to a single patch and an empty batch."""
    problem = build(replace(LAYER, batch=3, height=14, width=14))
    one = session(haste_model(constants_of(problem), **attributes_of(LAYER)), library_path(), threads=2)
    for batch, height, width in ((3, 14, 14), (1, 3, 5), (0, 14, 14), (2, 1, 1), (0, 1, 1), (3, 14, 14)):
        x = np.ascontiguousarray(problem.x[:batch, :, :height, :width])
        y, stats = one.run(None, {"X": x, "L": np.array(6, np.int64)})
        assert y.shape == (batch, 32, height, width)
        assert stats[0] == batch * -(-height // 3) * -(-width // 3)
        alone = session(haste_model(constants_of(problem), **attributes_of(LAYER)), library_path())
        assert (alone.run(None, {"X": x, "L": np.array(6, np.int64)})[0] == y).all()


@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
@pytest.mark.parametrize("w_type", ["float32", "float16"])
@pytest.mark.parametrize("fed", [("W",), ("B",), ("V",), ("W", "B", "V")])
def test_weights_that_are_not_constant(w_layout: str, w_type: str, fed: tuple[str, ...]) -> None:
    """Computed or fed weights are packed at every run: the same result, slowly."""
    case = replace(LAYER, w_layout=w_layout, w_type=w_type)
    problem, y, _ = run_case(case)
    tensors = constants_of(problem)
    feeds: Feeds = {"X": problem.x, "L": np.array(6, np.int64), **{name: tensors[name] for name in fed}}
    constants = {name: value for name, value in tensors.items() if name not in fed}
    assert (run(constants, feeds, **attributes_of(case))[0] == y).all()


@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
@pytest.mark.parametrize("count", [0, 6])
def test_float16_weights_beside_float32_ones(w_layout: str, count: int) -> None:
    """Two nodes of one model, the same values stored in both types: the same bits."""
    half = build(replace(LAYER, w_layout=w_layout, w_type="float16"))
    single = replace(half, case=replace(half.case, w_type="float32"))
    parts = {"half": half, "single": single}
    nodes = [
        helper.make_node("HasteConv", ["X", f"W_{name}", "B", "V", "L"], [name], name, domain="ai.haste",
                         **attributes_of(part.case))
        for name, part in parts.items()
    ]  # fmt: skip
    weights = {f"W_{name}": constants_of(part)["W"] for name, part in parts.items()}
    constants = {**weights, "B": half.bias, "V": half.hyperplanes, "L": np.array(count, np.int64)}
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None] * 4)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in parts]
    y_half, y_single = session(model(nodes, [x], outputs, constants), library_path()).run(None, {"X": half.x})
    assert np.array_equal(y_half.view(np.uint32), y_single.view(np.uint32))


@pytest.mark.parametrize("kernel", [(3, 3), (2, 2), (5, 3), (4, 1)])
@pytest.mark.parametrize("auto_pad", ["VALID", "SAME_UPPER", "SAME_LOWER", "NOTSET"])
def test_auto_pad(kernel: tuple[int, int], auto_pad: str) -> None:
    """As Conv pads, dense: the odd pixel of SAME goes to the end or to the beginning."""
    problem = build(replace(LAYER, kernel=kernel))
    k_h, k_w = kernel[0] - 1, kernel[1] - 1
    same = {"SAME_UPPER": (k_h // 2, k_w // 2, k_h - k_h // 2, k_w - k_w // 2)}
    same["SAME_LOWER"] = (k_h - k_h // 2, k_w - k_w // 2, k_h // 2, k_w // 2)
    pads = same.get(auto_pad, (0, 0, 0, 0))
    feeds: Feeds = {"X": problem.x, "L": np.array(0, np.int64)}
    y = run(constants_of(problem), feeds, kernel_shape=list(kernel), auto_pad=auto_pad)[0]
    expected = run_conv(problem.x, problem.weights, problem.bias, pads)
    assert y.shape == expected.shape
    dense = build(replace(LAYER, kernel=kernel, pads=pads, count=0))
    dense = replace(dense, x=problem.x, weights=problem.weights, bias=problem.bias)
    reference = dense.reference()
    assert_within(y.astype(np.float64), reference.y, tolerance(dense, reference))


def test_kernel_shape_may_be_left_out() -> None:
    problem, y, _ = run_case(LAYER)
    feeds: Feeds = {"X": problem.x, "L": np.array(6, np.int64)}
    assert (run(constants_of(problem), feeds, pads=[1, 1, 1, 1])[0] == y).all()


def test_two_sessions_and_two_registrations() -> None:
    problem, y, _ = run_case(LAYER)
    made = haste_model(constants_of(problem), **attributes_of(LAYER))
    sessions = [session(made, library_path()) for _ in range(2)]
    for each in sessions:
        assert (each.run(None, {"X": problem.x, "L": np.array(6, np.int64)})[0] == y).all()


# -- refusals ------------------------------------------------------------------------------------------------


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


# -- the helpers ------------------------------------------------------------------------------------------------


def helper_session(name: str, **attributes: Any) -> onnxruntime.InferenceSession:
    node = helper.make_node(name, ["X"], ["Y"], name="helper_of_the_test", domain="ai.haste", **attributes)
    x, y = (helper.make_tensor_value_info(value, TensorProto.FLOAT, None) for value in "XY")
    return session(model([node], [x], [y]), library_path())


def level_session(value: int, table: NDArray[Any]) -> onnxruntime.InferenceSession:
    """A session on table[level], the level an input of it."""
    node = helper.make_node("HasteLevel", ["level", "table"], ["Y"], name="helper_of_the_test", domain="ai.haste")
    level = helper.make_tensor_value_info("level", TensorProto.INT64, None)
    y = helper.make_tensor_value_info("Y", value, None)
    return session(model([node], [level], [y], {"table": table}), library_path())


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.INT64, np.int64), (TensorProto.FLOAT, np.float32)])
def test_level(kind: int, dtype: type[np.generic]) -> None:
    table = np.array([0, 7, 3], dtype)
    ours = level_session(kind, table)
    for level, expected in ((0, 0), (1, 7), (2, 3), (-1, 0), (-(2**62), 0)):
        for shape in ((), (1,)):
            (y,) = ours.run(None, {"level": np.full(shape, level, np.int64)})
            assert (y.dtype, y.shape, y) == (table.dtype, (), expected)
    for level in (3, 2**62):
        with pytest.raises(REFUSALS, match=rf"helper_of_the_test.*no level {level}.*0, dense, to 2"):
            ours.run(None, {"level": np.array(level)})
    with pytest.raises(REFUSALS, match=r"level has shape \[2\]"):
        ours.run(None, {"level": np.zeros(2, np.int64)})


@pytest.mark.parametrize("table", [np.zeros((2, 2), np.float32), np.zeros(0, np.float32), np.float32(1)])
def test_level_refuses_tables(table: NDArray[np.float32]) -> None:
    with pytest.raises(REFUSALS, match="the table has shape"):
        level_session(TensorProto.FLOAT, np.asarray(table)).run(None, {"level": np.array(0)})


@pytest.mark.parametrize("name", ["HasteMaxPool", "HasteAveragePool"])
@pytest.mark.parametrize("x_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
def test_pools(name: str, x_layout: str, y_layout: str) -> None:
    """Against the standard operator, to the bit for the maximum; a wrong axis or pad would be off by far more."""
    x = build(LAYER).x
    attributes: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "ceil_mode": 1}
    node = helper.make_node(name.removeprefix("Haste"), ["X"], ["Y"], **attributes)
    info = [helper.make_tensor_value_info(value, TensorProto.FLOAT, [None] * 4) for value in "XY"]
    (expected,) = session(model([node], info[:1], info[1:])).run(None, {"X": x})
    ours = helper_session(name, x_layout=x_layout, y_layout=y_layout, **attributes)
    (memory,) = ours.run(None, {"X": in_memory(x, x_layout)})
    y = from_memory(memory.reshape(-1), memory.shape, y_layout)
    assert y.shape == expected.shape
    allowed = 0.0 if name == "HasteMaxPool" else 6 * 2.0**-24 * 2 * float(np.abs(x).max())
    assert float(np.abs(y - expected).max()) <= allowed


@pytest.mark.parametrize("x_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
def test_reorder(x_layout: str, y_layout: str) -> None:
    x = build(LAYER).x
    (memory,) = helper_session("HasteReorder", x_layout=x_layout, y_layout=y_layout).run(
        None, {"X": in_memory(x, x_layout)}
    )
    assert (from_memory(memory.reshape(-1), memory.shape, y_layout) == x).all()


@pytest.mark.parametrize(
    ("name", "attributes", "shape"),
    [
        ("HasteMaxPool", {"kernel_shape": [2, 2]}, (1, 16, 8)),
        ("HasteMaxPool", {"kernel_shape": [2]}, (1, 16, 8, 8)),
        ("HasteMaxPool", {}, (1, 16, 8, 8)),
        ("HasteMaxPool", {"kernel_shape": [2, 2], "strides": [2]}, (1, 16, 8, 8)),
        ("HasteMaxPool", {"kernel_shape": [2, 2], "pads": [0, 0]}, (1, 16, 8, 8)),
        ("HasteMaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, (1, 16, 8, 8)),
        ("HasteAveragePool", {"kernel_shape": [9, 9]}, (1, 16, 8, 8)),
        ("HasteAveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, (1, 16, 8, 8)),
        ("HasteAveragePool", {"kernel_shape": [2, 2], "x_layout": "blocked"}, (1, 17, 8, 8)),
        ("HasteReorder", {"x_layout": "blocked"}, (1, 17, 8, 8)),
        ("HasteReorder", {"x_layout": "blocked"}, (16, 8)),
        ("HasteReorder", {"y_layout": "NHWC"}, (1, 16, 8, 8)),
    ],
)
def test_helpers_refuse(name: str, attributes: dict[str, Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(REFUSALS) as error:
        helper_session(name, **attributes).run(None, {"X": np.zeros(shape, np.float32)})
    assert "helper_of_the_test" in str(error.value)
