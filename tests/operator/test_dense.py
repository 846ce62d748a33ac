"""Dense mode (L of 0 or less) is the convolution of ONNX, and so is the reference's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from haste_export.contract import MERGES
from haste_export.reference import Float32, Float64
from tests.operator.backends import Backend
from tests.operator.bounds import gamma
from tests.operator.cases import PATCHES, Case, Problem, build, reproduction, value_cases
from tests.operator.compare import assert_within, check_values, expectation, on
from tests.operator.onnx_models import run_conv
from tests.operator.threads import examples


def dense(case: Case) -> Case:
    return replace(case, groups=0, count=0, activation="")


def conv_tolerance(problem: Problem, magnitude: Float64) -> Float64:
    """How far ONNX Runtime's convolution, a plain sum of products, may be from the exact one."""
    case = problem.case
    return gamma(case.channels * case.kernel[0] * case.kernel[1] + 2) * magnitude


def onnx_conv(problem: Problem) -> tuple[Float32, Float64]:
    """ONNX Runtime's Conv with bias and residual, and the same of all magnitudes, which its rounding scales by."""
    y = run_conv(problem.x, problem.weights, problem.bias, problem.case.pads)
    magnitude = run_conv(np.abs(problem.x), np.abs(problem.weights), np.abs(problem.bias), problem.case.pads)
    if problem.residual is not None:
        y, magnitude = y + problem.residual, magnitude + np.abs(problem.residual)
    return y, magnitude.astype(np.float64)


@settings(max_examples=examples(60))
@given(case=value_cases())
def test_reference_is_conv(case: Case) -> None:
    case = dense(case)
    problem = build(case)
    y, magnitude = onnx_conv(problem)
    assert_within(y.astype(np.float64), problem.reference().y, conv_tolerance(problem, magnitude))


def check_dense(case: Case, backend: Backend) -> None:
    """A backend's dense mode, on every variant, is within both rounding errors of ONNX Runtime's Conv."""
    with reproduction(check_dense, case, backend):
        problem = build(case)
        y, magnitude = onnx_conv(problem)
        allowed = expectation(case, backend.precision(case)).allowed
        assert allowed is not None
        for variant in backend.variants:
            with backend.conv_of(problem, variant) as conv, on(variant):
                output = conv.run(problem.x, 0, residual=problem.residual)
                both = allowed + conv_tolerance(problem, magnitude)
                assert_within(output.y.astype(np.float64), y.astype(np.float64), both)


@settings(max_examples=examples(200))
@given(case=value_cases())
def test_dense_mode_is_conv(backend: Backend, case: Case) -> None:
    check_dense(dense(case), backend)


@pytest.mark.parametrize(("patch", "rows"), [(patch, rows) for patch in PATCHES for rows in range(1, 2 * patch + 1)])
@pytest.mark.parametrize("w_type", ["float32", "float16"])
def test_every_way_that_a_patch_ends(backend: Backend, patch: int, rows: int, w_type: str) -> None:
    """Maps of up to two patches a side. One channel for every second width: there the tolerance is narrowest."""
    for columns in range(1 + rows % min(backend.samples, 2 * patch), 2 * patch + 1, backend.samples):
        channels = 1 if columns % 2 else 17
        case = Case(2, channels, 20, rows, columns, patch=patch, w_type=w_type, residual=True, seed=columns)
        check_dense(dense(case), backend)


@pytest.mark.parametrize("count", [0, -1, -(2**40)])
@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("patch", PATCHES)
def test_any_l_below_one_is_dense(backend: Backend, count: int, merge_how: str, patch: int) -> None:
    """With the statistics of a run that merged nothing."""
    check_values(Case(channels=32, count=count, kind="relu", merge_how=merge_how, tau=0.1, patch=patch), backend)
