"""Merge and convolution on the GPU against the reference, with a given grouping and end to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings

from haste_export.contract import MERGES
from tests.cuda.compare import HALF_TINY, HALF_UNIT, as_stored, check_values, conv_of
from tests.cuda.device import Target
from tests.operator.bounds import gamma
from tests.operator.c_api import NativeError
from tests.operator.cases import ACTIVATIONS, OUTPUTS, Case, build, value_cases
from tests.operator.test_correction import correction_of, expected_from
from tests.operator.threads import examples

LAYER = Case(channels=32, outputs=32, height=8, width=11, groups=9, seed=11)


@settings(max_examples=examples(150))
@given(case=value_cases())
@example(case=Case(batch=0, groups=3))
@example(case=Case(channels=3, outputs=1, height=1, width=1, kernel=(1, 1), pads=(0, 0, 0, 0), patch=1, groups=2))
@example(case=Case(channels=64, outputs=64, height=20, width=20, groups=30, kind="relu"))
def test_given_grouping(target: Target, case: Case) -> None:
    check_values(target, case)


@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("kind", ["normal", "relu", "equal", "scaled"])
@pytest.mark.parametrize("count", [0, 1, 6, 14, 20])
def test_end_to_end(target: Target, merge_how: str, kind: str, count: int) -> None:
    """Hashed, grouped, merged and convolved; L = 0 is the exact convolution."""
    check_values(target, replace(LAYER, merge_how=merge_how, kind=kind, groups=0, count=count))


@pytest.mark.parametrize("tau", [0.02, 0.3, 0.9, 2.0])
@pytest.mark.parametrize("kind", ["relu", "scaled"])
@pytest.mark.parametrize("patch", [2, 3])
@pytest.mark.parametrize("merge_how", ["scaled", "norm"])
def test_error_bound(target: Target, tau: float, kind: str, patch: int, merge_how: str) -> None:
    check_values(target, replace(LAYER, tau=tau, kind=kind, patch=patch, merge_how=merge_how))


@pytest.mark.parametrize(("large", "left"), [(1e20, True), (1.0, False), (1e-23, True)])
def test_norms_that_cannot_be_taken(target: Target, large: float, left: bool) -> None:
    """Two members cancel and the others share a good mean: where a norm overflows or underflows its member leaves."""
    # Patch 2: tensor cores do not see it, and lose six beside 1e20 before its opposite is added.
    case = Case(channels=8, height=2, width=2, kernel=(1, 1), pads=(0, 0, 0, 0), patch=2, groups=1, merge_how="norm")
    problem = build(case)
    x = np.ones_like(problem.x)
    x[0, 0], x[0, 1] = large, -large
    with conv_of(target, replace(problem, weights=np.ones_like(problem.weights))) as conv:
        y = conv.run(x, labels=problem.labels).y
    # The six others keep their length; those that leave cancel, and those that stay point the way of the mean.
    np.testing.assert_allclose(y - problem.bias[:, None, None], 6.0 if left else 8.0, rtol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [False, True])
def test_activations(target: Target, activation: str, residual: bool) -> None:
    check_values(target, replace(LAYER, activation=activation, residual=residual))


@pytest.mark.parametrize("x_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("z_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
def test_layouts(target: Target, x_layout: str, z_layout: str, y_layout: str, w_layout: str) -> None:
    case = replace(LAYER, batch=2, residual=True, w_layout=w_layout)
    check_values(target, replace(case, x_layout=x_layout, z_layout=z_layout, y_layout=y_layout))


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
def test_output_channels(target: Target, outputs: int, kernel: tuple[int, int], w_layout: str) -> None:
    check_values(target, replace(LAYER, outputs=outputs, kernel=kernel, w_layout=w_layout, residual=True))


@pytest.mark.parametrize("patch", [*range(1, 10)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (7, 7), (1, 3), (3, 1), (2, 2)])
def test_patches_and_kernels(target: Target, patch: int, kernel: tuple[int, int]) -> None:
    check_values(target, replace(LAYER, channels=16, patch=patch, kernel=kernel, pads=(2, 0, 1, 3)))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
@pytest.mark.parametrize("channels", [1, 17, 300])
def test_input_channels(target: Target, channels: int, kernel: tuple[int, int]) -> None:
    check_values(target, replace(LAYER, channels=channels, kernel=kernel, kind="relu", groups=0, count=14))


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5)])
@pytest.mark.parametrize("layout", ["NCHW", "blocked"])
def test_float16_storage(target: Target, kernel: tuple[int, int], layout: str) -> None:
    case = replace(LAYER, kernel=kernel, residual=True, activation="Relu", x_layout=layout, y_layout=layout)
    check_values(target, case, "float16")


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("channels", [32, 300, 800], ids=["tile 32", "tile 8 or 16", "weights not resident"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
def test_correction(target: Target, kernel: tuple[int, int], channels: int, y_layout: str) -> None:
    """Gain and offset per output channel of a compressed run; dense mode ignores them."""
    case = replace(LAYER, kernel=kernel, channels=channels, outputs=48, y_layout=y_layout, groups=0, kind="relu")
    bare, problem = build(case), build(replace(case, residual=True, activation="Clip"))
    correction = correction_of(problem)
    with conv_of(target, bare) as conv:
        plain = conv.run(bare.x, case.count).y
    with conv_of(target, problem) as conv:
        y = conv.run(problem.x, case.count, residual=problem.residual, correction=correction).y
        dense = [conv.run(problem.x, 0, residual=problem.residual, correction=given).y for given in (correction, None)]
    expected, bound = expected_from(plain, problem, correction)
    assert (np.abs(y - expected) <= bound).all()
    np.testing.assert_array_equal(dense[0], dense[1])


def test_correction_of_a_given_grouping_stored_as_float16(target: Target) -> None:
    problem = as_stored(build(LAYER), "float16")
    correction = correction_of(problem)
    with conv_of(target, problem, "float16") as conv:
        plain = conv.run(problem.x, labels=problem.labels).y
        y = conv.run(problem.x, labels=problem.labels, correction=correction).y
    expected, bound = expected_from(plain, problem, correction)
    rounding = HALF_UNIT * (correction[0].max() * np.abs(plain) + np.abs(expected)) + HALF_TINY
    assert (np.abs(y - expected) <= bound + rounding).all()


@pytest.mark.parametrize("patch", [3, 7])
def test_many_patches(target: Target, patch: int) -> None:
    """On a large GPU: warps that share windows, and batches of more patches than one pair of launches takes."""
    large = target.name == "gpu"
    images, side = (6, 120) if large else (2, 24)
    case = replace(LAYER, channels=64, outputs=128, patch=patch, count=14, groups=0, kind="relu")
    problem = build(replace(case, height=side, width=side))
    x = np.concatenate([np.roll(problem.x, 11 * i, axis=2) for i in range(images)])
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(problem.x[0], ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
    exact = np.tensordot(problem.weights.astype(np.float64), windows, axes=([1, 2, 3], [0, 3, 4]))
    exact += problem.bias[:, None, None]
    with conv_of(target, problem) as conv:
        batch = conv.run(x, 14).y
        alone = np.concatenate([conv.run(x[i : i + 1], 14).y for i in range(images)])
        dense = conv.run(x[:1], 0).y[0]
    # How warps share the work, and so the order of sums, follows from the number of patches.
    allowed = gamma(64 * 9) * np.abs(exact).max()
    assert np.abs(batch - alone).max() <= allowed
    assert np.abs(dense - exact).max() <= allowed
    check_values(target, replace(case, height=24, width=24))


def test_pads_wider_than_the_image(target: Target) -> None:
    """Whole patches that see nothing but zeros: every channel is zero, and only the bias is left."""
    check_values(target, replace(LAYER, height=2, width=3, pads=(9, 8, 10, 7), groups=4))


def test_runs_repeat_bit_for_bit(target: Target) -> None:
    """Nothing depends on which thread came first."""
    problem = build(replace(LAYER, kind="relu", groups=0, count=8, tau=0.3))
    with conv_of(target, problem) as conv:
        first, second = (conv.run(problem.x, 8, tau=0.3) for _ in range(2))
    assert (first.y == second.y).all()
    assert (first.stats == second.stats).all()


def test_not_a_number_reaches_the_output(target: Target) -> None:
    problem = build(replace(LAYER, pads=(0, 0, 0, 0), kernel=(1, 1)))
    x = problem.x.copy()
    x[0, 5, 0, 0] = np.nan
    with conv_of(target, problem) as conv:
        clean, dirty = (conv.run(each, labels=problem.labels).y for each in (problem.x, x))
    assert np.isnan(dirty[:, :, 0, 0]).all()
    assert (dirty[:, :, 3:] == clean[:, :, 3:]).all()
    assert (dirty[:, :, :, 3:] == clean[:, :, :, 3:]).all()


def test_too_many_hyperplanes(target: Target) -> None:
    problem = build(LAYER)
    with (
        conv_of(target, problem) as conv,
        pytest.raises(NativeError, match="L = 20 hyperplanes asked for, but the model has 7"),
    ):
        conv.run(problem.x, 20)


def test_kernel_that_does_not_fit(target: Target) -> None:
    problem = build(replace(LAYER, kernel=(5, 5), pads=(0, 0, 0, 0)))
    with conv_of(target, problem) as conv, pytest.raises(NativeError, match="5x5 kernel does not fit"):
        conv.output_size(4, 9)


def test_hyperplanes_must_be_ternary(target: Target) -> None:
    problem = build(LAYER)
    problem.hyperplanes[2, 3] = 2
    with pytest.raises(NativeError, match=r"hyperplane 2 has the value 2 at 3"):
        conv_of(target, problem)


@pytest.mark.parametrize("x_layout", ["blocked", "NCHW"])
def test_blocked_needs_multiples_of_sixteen(target: Target, x_layout: str) -> None:
    problem = build(replace(LAYER, channels=20, outputs=20))
    y_layout = "NCHW" if x_layout == "blocked" else "blocked"
    case = replace(problem.case, x_layout=x_layout, y_layout=y_layout)
    with pytest.raises(NativeError, match="multiple of 16 channels"):
        conv_of(target, replace(problem, case=case))
