"""The reference against something simpler: loops written from the contract, the paper's identity, worked examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from haste_export.reference import (
    Float64,
    Geometry,
    Merged,
    activate,
    assemble,
    channel_mean,
    group,
    hash_codes,
    haste_conv,
    merge,
    windows,
)
from tests.operator.bounds import gamma
from tests.operator.cases import Case, Problem, build, hash_cases, value_cases
from tests.operator.compare import assert_within
from tests.operator.onnx_models import run_conv
from tests.operator.threads import examples


def slow_codes(problem: Problem) -> list[int]:
    """Step 1 of docs/operator.md as scalar loops over Python numbers, one rounding at a time."""
    case, geometry, f32 = problem.case, problem.case.geometry, np.float32
    q_h, q_w = geometry.window
    codes = []
    for image in range(case.batch):
        for patch_y in range(geometry.grid[0]):
            for patch_x in range(geometry.grid[1]):
                code = [0] * case.channels
                for bit, v in enumerate(problem.hyperplanes[: case.count]):
                    projections = []
                    for channel in range(case.channels):
                        total = f32(0)
                        for q in range(q_h * q_w):
                            y = patch_y * case.patch + q // q_w - case.pads[0]
                            x = patch_x * case.patch + q % q_w - case.pads[1]
                            inside = 0 <= y < case.height and 0 <= x < case.width
                            value = problem.x[image, channel, y, x] if inside else f32(0)
                            if v[q]:
                                total = total + value if v[q] > 0 else total - value
                        projections.append(total)
                    p = [f32(0)] * 16
                    for channel, projection in enumerate(projections):
                        p[channel % 16] += projection
                    p8 = [p[j] + p[j + 8] for j in range(8)]
                    p4 = [p8[j] + p8[j + 4] for j in range(4)]
                    mean = ((p4[0] + p4[2]) + (p4[1] + p4[3])) / f32(case.channels)
                    for channel, projection in enumerate(projections):
                        code[channel] |= int(projection > mean) << bit
                codes += code
    return codes


@settings(max_examples=examples(40))
@given(case=hash_cases())
def test_codes_against_scalar_loops(case: Case) -> None:
    case = replace(case, channels=min(case.channels, 17), height=min(case.height, 9), width=min(case.width, 9), patch=3)
    case = replace(case, count=min(case.count, 3), batch=min(case.batch, 1), x_layout="NCHW")
    if not case.fits():
        return
    problem = build(case)
    with np.errstate(all="ignore"):
        expected = slow_codes(problem)
    assert hash_codes(problem.windows(), problem.hyperplanes, case.count).reshape(-1).tolist() == expected


def test_mean_has_the_prescribed_order() -> None:
    """1e8 - 1e8 + 1 is 1 or 0 in float32, according to the order. Channels 0 and 16 share a partial sum."""
    row = np.zeros(32, np.float32)
    row[0], row[1], row[16] = 1e8, 1, -1e8
    assert channel_mean(row) == np.float32(1) / np.float32(32)
    row[0], row[1], row[8] = 1e8, 1, 0
    row[16], row[2] = 0, -1e8  # p0 = 1e8, p1 = 1, p2 = -1e8: (p0 + p2) + p1
    assert channel_mean(row) == np.float32(1) / np.float32(32)
    row[2], row[3] = 0, -1e8  # p0 + (p1 + p3): the 1 is lost
    assert channel_mean(row) == 0


def test_group_numbers_by_first_appearance() -> None:
    assert group(np.array([7, 3, 7, 0, 3, 9], np.uint32)).tolist() == [0, 1, 0, 2, 1, 3]


def expanded(merged: Merged) -> Float64:
    """Every channel's window as the merge leaves it: a_i times its bucket's input, [C, Q]."""
    windows_of_channels: Float64 = merged.coefficients.T @ merged.inputs
    return windows_of_channels


@settings(max_examples=examples(60))
@given(case=value_cases())
def test_identity_of_the_paper(case: Case) -> None:
    """HASTE with a given grouping is the dense convolution of the merged-and-expanded input, patch by patch."""
    case = replace(case, activation="", residual=False)
    problem = build(case)
    result = problem.reference()
    if not result.merged:
        return
    q_h, q_w = case.geometry.window
    images = np.array([expanded(merged) for merged in result.merged]).reshape(-1, case.channels, q_h, q_w)
    images = images.astype(np.float32)
    y = run_conv(images, problem.weights, problem.bias, (0, 0, 0, 0)).astype(np.float64)
    size = run_conv(np.abs(images), np.abs(problem.weights), np.abs(problem.bias), (0, 0, 0, 0)).astype(np.float64)
    shape = (case.batch, case.patches, case.outputs, case.patch**2)
    # One rounding for the expanded input, then the products and sums of the convolution.
    allowed = gamma(case.channels * case.kernel[0] * case.kernel[1] + 3) * size
    whole, bound = (assemble(each.reshape(shape), case.geometry) for each in (y, allowed))
    assert_within(whole, result.y, bound)


@pytest.mark.parametrize(
    ("merge_how", "second", "filters", "pixels"),
    [
        ("mean", [0, 0.5, 1.5, 0], [11, 1100], [16.5, 583, 1650, 16.5]),
        ("scaled", [0, 1, 3, 0], [14, 100], [21, 142, 300, 21]),
        ("norm", [0, 1, 3, 0], [14, 100], [21, 142, 300, 21]),  # every member is a multiple of u: both are exact
    ],
)
def test_the_example_of_the_documentation(
    merge_how: str, second: list[float], filters: list[float], pixels: list[float]
) -> None:
    """docs/method.md, "A worked example", number by number."""
    x = np.array([[1, 2, 0, 1], [2, 4, 0, 2], [0, 1, 3, 0], [0, 0, 0, 0]], np.float32).reshape(1, 4, 2, 2)
    weights = np.array([1, 10, 100, 1000], np.float32).reshape(1, 4, 1, 1)
    v = np.array([[1, 1, -1, 0], [1, 0, -1, 0]], np.int8)
    result = haste_conv(x, weights, np.zeros(1, np.float32), v, 2, patch=2, merge_how=merge_how)
    assert result.codes.tolist() == [[[0b11, 0b11, 0b00, 0b00]]]
    (merged,) = result.merged
    assert merged.inputs.tolist() == [[1.5, 3, 0, 1.5], second]
    assert np.allclose(merged.coefficients @ weights.reshape(4), filters, rtol=1e-15)
    assert np.allclose(result.y.reshape(-1), pixels, rtol=1e-15)
    assert result.stats.tolist() == [1, 4, 2, 2, 0, 1, 4 if merge_how == "mean" else 3, 0]


def test_error_bound_lets_members_leave() -> None:
    """One bucket of (3,0), (3,1), (0,2): u = (2,1), a = 1.2, 1.4, 0.4, residuals 1.8, 0.2, 3.2, and E = 23/3."""
    x = np.array([[3.0, 0.0], [3.0, 1.0], [0.0, 2.0]])
    everyone = np.zeros(3, np.int64)
    unbounded = merge(x, everyone, "scaled", 0.0)
    one_leaves = merge(x, everyone, "scaled", 0.3)
    nearly_all = merge(x, everyone, "scaled", 0.1)
    assert unbounded.stats()[2:].tolist() == [1, 1, 0, 0, 3, 0]
    assert one_leaves.stats()[2:].tolist() == [2, 1, 0, 0, 2, 1]
    assert one_leaves.inputs[0].tolist() == [2, 1], "u is not recomputed"
    assert np.allclose(one_leaves.coefficients[0], [1.2, 1.4, 0], rtol=1e-15, atol=0)
    # A bucket left with one member takes that member's own window, so nothing is lost any more.
    assert nearly_all.stats()[2:].tolist() == [3, 0, 0, 0, 0, 2]
    assert (expanded(nearly_all) == x).all()
    assert (expanded(merge(x, everyone, "scaled", 1e-9)) == x).all(), "everybody leaves"


def test_norm_keeps_lengths_and_has_the_same_error_bound() -> None:
    """The same three: |u|^2 = 5, so a = sqrt(9/5), sqrt(2), sqrt(4/5), and residuals 2 (|x|^2 - a <x,u>)."""
    x = np.array([[3.0, 0.0], [3.0, 1.0], [0.0, 2.0]])
    everyone = np.zeros(3, np.int64)
    unbounded = merge(x, everyone, "norm")
    assert np.allclose(unbounded.coefficients[0] ** 2, [9 / 5, 2, 4 / 5], rtol=1e-15)
    assert np.allclose(np.linalg.norm(expanded(unbounded), axis=1), np.linalg.norm(x, axis=1), rtol=1e-15)
    residual = ((expanded(unbounded) - x) ** 2).sum(axis=1) / (23 / 3)
    assert np.allclose(residual * 23 / 3, [1.90031, 0.20101, 4.42229], atol=1e-5)
    for edge, left in zip(residual, [(2, 1), (3, 2), (1, 0)], strict=True):
        below, above = (merge(x, everyone, "norm", float(edge * factor)).left for factor in (0.999, 1.001))
        assert (below, above) == left


def test_zero_channels_never_leave_and_are_not_counted_as_company() -> None:
    x = np.array([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    merged = merge(x, np.array([0, 0, 0]), "scaled", 0.5)
    assert merged.stats()[5:].tolist() == [1, 0, 2]
    assert (expanded(merged) == x).all()


def test_members_are_counted_by_their_windows_and_not_by_their_coefficients() -> None:
    """(0,1) and (0,-1) are orthogonal to u = (1,0): their coefficients are 0, their filters are read all the same."""
    x = np.array([[3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    everyone = np.zeros(3, np.int64)
    merged = merge(x, everyone, "scaled")
    assert merged.coefficients.tolist() == [[3, 0, 0]]
    assert merged.stats()[2:].tolist() == [1, 1, 0, 0, 3, 0]
    # The first two are 1 off and leave. The others stay, and contribute nothing although u is not 0.
    x = np.array([[3.0, 1.0], [3.0, -1.0], [0.0, 0.25], [0.0, -0.25]])
    stay = merge(x, np.zeros(4, np.int64), "scaled", 0.1)
    assert stay.coefficients.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert stay.stats()[2:].tolist() == [3, 1, 0, 0, 2, 2]


def test_windows_are_zero_outside() -> None:
    geometry = Geometry(2, 3, 2, 2, (1, 0, 0, 1), 2)
    x = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 2, 3)
    assert (geometry.out_h, geometry.out_w, geometry.grid, geometry.window) == (2, 3, (1, 2), (3, 3))
    left, right = windows(x, geometry).reshape(2, 3, 3).tolist()
    assert left == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert right == [[0, 0, 0], [3, 0, 0], [6, 0, 0]]


def test_negative_zero_and_ties_give_zero_bits() -> None:
    """A projection equal to the mean is not above it."""
    same = np.full((1, 5, 9), 0.1, np.float32)
    v = np.ones((3, 9), np.int8)
    exact = same * 0 - 0.0
    assert hash_codes(exact, v, 3).tolist() == [[0] * 5]


@pytest.mark.parametrize(
    ("name", "params", "x", "expected"),
    [
        ("", (), -2.0, -2.0),
        ("Relu", (), -2.0, 0.0),
        ("LeakyRelu", (0.25,), -2.0, -0.5),
        ("Clip", (-1.0, 6.0), 7.0, 6.0),
        ("HardSwish", (), 1.5, 1.5 * 0.75),
        ("Silu", (), 0.0, 0.0),
        ("Sigmoid", (), 0.0, 0.5),
    ],
)
def test_activations(name: str, params: tuple[float, ...], x: float, expected: float) -> None:
    assert activate(np.array([x]), name, params).tolist() == [expected]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"count": 7}, "L = 7"),
        ({"hyperplanes": np.full((6, 25), 2, np.int8)}, "-1, 0 and 1"),
        ({"hyperplanes": np.zeros((6, 9), np.int8)}, "25 columns"),
        ({"hyperplanes": np.zeros((33, 25), np.int8)}, "at most 32"),
        ({"bias": np.zeros(3, np.float32)}, "belong together"),
        ({"merge_how": "max"}, "none of scaled, mean, norm"),
        ({"activation": "Gelu"}, "Gelu"),
        ({"x": np.zeros((1, 4, 2, 2), np.float32)}, "does not fit"),
        ({"x": np.zeros((1, 4, 0, 5), np.float32)}, "positive"),
    ],
)
def test_refusals(change: dict[str, object], sentence: str) -> None:
    arguments: dict[str, object] = {
        "x": np.zeros((1, 4, 5, 5), np.float32),
        "weights": np.zeros((2, 4, 3, 3), np.float32),
        "bias": np.zeros(2, np.float32),
        "hyperplanes": np.zeros((6, 25), np.int8),
        "count": 6,
    }
    with pytest.raises(ValueError, match=sentence):
        haste_conv(**(arguments | change))  # type: ignore[arg-type]
