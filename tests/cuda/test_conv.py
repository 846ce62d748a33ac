"""What is particular to the CUDA kernels: tiles and placements of weights, large grids, float16 storage.

All that the operator computes is tested with every backend in tests/operator.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.cuda.compare import HALF_TINY, HALF_UNIT, Cuda
from tests.operator.bounds import gamma
from tests.operator.cases import OUTPUTS, Case, build
from tests.operator.compare import as_stored, check_values
from tests.operator.test_correction import correction_of, expected_from

LAYER = Case(channels=32, outputs=32, height=8, width=11, groups=9, seed=11)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("kernel", [(1, 1), (5, 3)])
@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
def test_output_channels(cuda: Cuda, outputs: int, kernel: tuple[int, int], w_layout: str) -> None:
    check_values(replace(LAYER, outputs=outputs, kernel=kernel, w_layout=w_layout, residual=True), cuda)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
@pytest.mark.parametrize("channels", [1, 17, 300])
def test_input_channels(cuda: Cuda, channels: int, kernel: tuple[int, int]) -> None:
    check_values(replace(LAYER, channels=channels, kernel=kernel, kind="relu", groups=0, count=14), cuda)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5)])
@pytest.mark.parametrize("layout", ["NCHW", "blocked"])
def test_float16_storage(half: Cuda, kernel: tuple[int, int], layout: str) -> None:
    check_values(
        replace(LAYER, kernel=kernel, residual=True, activation="Relu", x_layout=layout, y_layout=layout), half
    )


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("channels", [300, 800], ids=["tile 8 or 16", "weights not resident"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
def test_correction(cuda: Cuda, kernel: tuple[int, int], channels: int, y_layout: str) -> None:
    """Wherever the weights lie; test_correction.py has the rest."""
    case = replace(LAYER, kernel=kernel, channels=channels, outputs=48, y_layout=y_layout, groups=0, kind="relu")
    bare, problem = build(case), build(replace(case, residual=True, activation="Clip"))
    correction = correction_of(problem)
    with cuda.conv_of(bare) as conv:
        plain = conv.run(bare.x, case.count).y
    with cuda.conv_of(problem) as conv:
        y = conv.run(problem.x, case.count, residual=problem.residual, correction=correction).y
    expected, bound = expected_from(plain, problem, correction)
    assert (np.abs(y - expected) <= bound).all()


def test_correction_of_a_given_grouping_stored_as_float16(half: Cuda) -> None:
    problem = as_stored(build(LAYER), "float16")
    correction = correction_of(problem)
    with half.conv_of(problem) as conv:
        plain = conv.run(problem.x, labels=problem.labels).y
        y = conv.run(problem.x, labels=problem.labels, correction=correction).y
    expected, bound = expected_from(plain, problem, correction)
    rounding = HALF_UNIT * (correction[0].max() * np.abs(plain) + np.abs(expected)) + HALF_TINY
    assert (np.abs(y - expected) <= bound + rounding).all()


@pytest.mark.parametrize("patch", [3, 7])
def test_many_patches(cuda: Cuda, patch: int) -> None:
    """On a large GPU: warps that share windows, and batches of more patches than one pair of launches takes."""
    large = cuda.name == "gpu"
    images, side = (6, 120) if large else (2, 24)
    case = replace(LAYER, channels=64, outputs=128, patch=patch, count=14, groups=0, kind="relu")
    problem = build(replace(case, height=side, width=side))
    x = np.concatenate([np.roll(problem.x, 11 * i, axis=2) for i in range(images)])
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(problem.x[0], ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
    exact = np.tensordot(problem.weights.astype(np.float64), windows, axes=([1, 2, 3], [0, 3, 4]))
    exact += problem.bias[:, None, None]
    with cuda.conv_of(problem) as conv:
        batch = conv.run(x, 14).y
        alone = np.concatenate([conv.run(x[i : i + 1], 14).y for i in range(images)])
        dense = conv.run(x[:1], 0).y[0]
    # How warps share the work, and so the order of sums, follows from the number of patches.
    allowed = gamma(64 * 9) * np.abs(exact).max()
    assert np.abs(batch - alone).max() <= allowed
    assert np.abs(dense - exact).max() <= allowed
    check_values(replace(case, height=24, width=24), cuda)


def test_runs_repeat_bit_for_bit(cuda: Cuda) -> None:
    """Nothing depends on which thread came first."""
    problem = build(replace(LAYER, kind="relu", groups=0, count=8, tau=0.3))
    with cuda.conv_of(problem) as conv:
        first, second = (conv.run(problem.x, 8, tau=0.3) for _ in range(2))
    assert (first.y == second.y).all()
    assert (first.stats == second.stats).all()
