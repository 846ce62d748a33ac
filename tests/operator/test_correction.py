"""The correction A of a compressed run: gain of the convolution, and what takes the bias's place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from haste_export.reference import Float32, activate, haste_conv
from tests.operator.backends import Backend
from tests.operator.cases import ACTIVATIONS, PATCHES, Case, Problem, build
from tests.operator.onnx_layer import REFUSALS, attributes_of, constants_of, run

LAYER = Case(batch=2, channels=32, outputs=20, height=8, width=11, count=6, kind="relu", seed=31)


def correction_of(problem: Problem) -> Float32:
    rng = np.random.default_rng(problem.case.seed)
    return np.stack([rng.uniform(0.5, 2, problem.case.outputs), rng.standard_normal(problem.case.outputs)]).astype(
        np.float32
    )


def expected_from(plain: NDArray[Any], problem: Problem, correction: Float32) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values and bound, from a run without correction, residual and activation."""
    gain, shift = (row.astype(np.float64)[:, None, None] for row in correction)
    bias = problem.bias.astype(np.float64)[:, None, None]
    residual = 0.0 if problem.residual is None else problem.residual.astype(np.float64)
    sums = gain * (plain.astype(np.float64) - bias) + shift + residual
    addends = gain * (np.abs(plain) + np.abs(bias)) + np.abs(shift) + np.abs(residual)
    params = tuple(float(np.float32(value)) for value in ACTIVATIONS[problem.case.activation])
    return activate(sums, problem.case.activation, params), 8 * np.finfo(np.float32).eps * addends


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 3)])
@pytest.mark.parametrize("activation", ["", "Relu", "Clip"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("patch", PATCHES)
def test_gain_and_bias(backend: Backend, kernel: tuple[int, int], activation: str, y_layout: str, patch: int) -> None:
    """Gain and offset per output channel of a compressed run; dense mode ignores them."""
    outputs = 32 if y_layout == "blocked" else 20
    case = replace(LAYER, kernel=kernel, activation=activation, outputs=outputs, residual=True, patch=patch)
    case = replace(case, y_layout=y_layout)
    problem = build(case)
    correction = correction_of(problem)
    plain = build(replace(case, activation="", residual=False))
    for variant in backend.variants:
        with backend.conv_of(plain, variant) as conv:
            bare = conv.run(plain.x, case.count).y
        with backend.conv_of(problem, variant) as conv:
            y = conv.run(problem.x, case.count, residual=problem.residual, correction=correction).y
            dense, uncorrected = (
                conv.run(problem.x, 0, residual=problem.residual, correction=given).y for given in (correction, None)
            )
        np.testing.assert_array_equal(dense, uncorrected, f"{variant}: dense ignores it")
        expected, bound = expected_from(bare, problem, correction)
        assert (np.abs(y - expected) <= bound).all(), variant


def test_the_reference_does_the_same() -> None:
    problem = build(LAYER)
    correction = correction_of(problem)
    arguments = (problem.x, problem.weights, problem.bias, problem.hyperplanes)
    plain = haste_conv(*arguments, 6, pads=LAYER.pads).y
    y = haste_conv(*arguments, 6, pads=LAYER.pads, correction=correction).y
    expected, bound = expected_from(plain, problem, correction)
    assert (np.abs(y - expected) <= bound).all()
    dense = haste_conv(*arguments, 0, pads=LAYER.pads, correction=correction).y
    np.testing.assert_array_equal(dense, haste_conv(*arguments, 0, pads=LAYER.pads).y)


def feeds_of(problem: Problem, correction: Float32) -> dict[str, NDArray[Any]]:
    zero = np.array(0, np.float32)
    return {"X": problem.x, "L": np.array(problem.case.count, np.int64), "Z": zero, "T": zero, "A": correction}


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("count", [0, 6])
def test_as_an_input_of_the_node(count: int) -> None:
    problem = build(replace(LAYER, count=count))
    correction = correction_of(problem)
    neutral = np.stack([np.ones_like(problem.bias), problem.bias])
    y, plain = (
        run(constants_of(problem), feeds_of(problem, table), **attributes_of(LAYER))[0]
        for table in (correction, neutral)
    )
    if count == 0:
        np.testing.assert_array_equal(y, plain, "dense ignores it")
    else:
        expected, bound = expected_from(plain, problem, correction)
        assert (np.abs(y - expected) <= bound).all()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("shape", [(20,), (1, 20), (2, 19), (20, 2)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    problem = build(LAYER)
    with pytest.raises(REFUSALS, match="the correction A has shape"):
        run(constants_of(problem), feeds_of(problem, np.ones(shape, np.float32)), **attributes_of(LAYER))
