"""HasteConv as a node in ONNX Runtime: what it computes, and what it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from haste_export.contract import MERGES
from tests.operator.bounds import tolerance
from tests.operator.cases import ACTIVATIONS, Case, build
from tests.operator.compare import assert_stats, assert_within
from tests.operator.onnx_layer import LAYER, Feeds, attributes_of, constants_of, library_path, run, run_case
from tests.operator.onnx_models import haste_model, model, run_conv, session

pytestmark = pytest.mark.usefixtures("library")


def check_case(case: Case, threads: int = 1) -> None:
    problem, y, stats = run_case(case, threads)
    expected = problem.reference()
    assert_within(y.astype(np.float64), expected.y, tolerance(problem, expected))
    assert_stats(stats.astype(np.float64), expected.stats)


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
