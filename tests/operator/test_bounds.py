"""The tolerances themselves: wide enough for float32 done in any order, and no wider than needed by much."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from haste_export.reference import Float32, Float64
from tests.operator.bounds import UNIT, coefficient_error, gamma, tau_is_trusted, tolerance, winograd
from tests.operator.cases import Case, build


def test_gamma() -> None:
    assert gamma(0) == 0
    assert gamma(1) == pytest.approx(UNIT, rel=1e-6)
    assert gamma(1000) > 1000 * UNIT


def test_winograd_is_a_convolution() -> None:
    """Exactly, on integers: y_i = sum_k g_k d_(i+k)."""
    matrices = winograd()
    rng = np.random.default_rng(0)
    for _ in range(20):
        g, d = rng.integers(-50, 50, 3).astype(float), rng.integers(-50, 50, 5).astype(float)
        y = matrices.output @ ((matrices.kernel @ g) * (matrices.data @ d))
        assert np.allclose(y, [g @ d[i : i + 3] for i in range(3)], rtol=1e-12, atol=1e-9)


def test_winograd_amplification() -> None:
    """The documented factor, from the documented matrices."""
    matrices = winograd()
    assert matrices.amplification == pytest.approx(float(Fraction(73, 9)), rel=1e-12)
    assert (matrices.output == [[1, 1, 1, 1, 0], [0, 1, -1, 2, 0], [0, 1, 1, 4, 1]]).all()
    assert np.abs(matrices.data).tolist()[4] == [0, 2, 1, 2, 1]


def float32_scaled_merge(x: Float32) -> tuple[Float32, Float32]:
    """One bucket in plain float32: its mean and its coefficients."""
    total = np.zeros(x.shape[1], np.float32)
    for row in x:
        total += row
    u = total * (np.float32(1) / np.float32(len(x)))
    return u, np.array([row @ u for row in x], np.float32) / np.float32(u @ u)


@pytest.mark.parametrize("members", [2, 3, 17, 200])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_coefficient_error_holds(members: int, offset: float) -> None:
    """Also without an offset, where the mean of many windows cancels and the coefficients are at their worst."""
    rng = np.random.default_rng(members)
    for _ in range(50):
        x = (rng.standard_normal((members, 25)) + offset).astype(np.float32)
        exact = x.astype(np.float64)
        u = exact.mean(axis=0)
        a = exact @ u / (u @ u)
        u32, a32 = float32_scaled_merge(x)
        u_error: Float64 = gamma(members + 1) * np.abs(exact).mean(axis=0)
        bound = coefficient_error(exact, u, u_error, a)
        assert (np.abs(u32 - u) <= u_error).all()
        assert (np.abs(a32 - a) <= bound).all()
        assert np.isfinite(bound).all()


@pytest.mark.parametrize("members", [2, 3, 17, 200])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_error_of_the_norms_holds(members: int, offset: float) -> None:
    """Both ways to write it in float32: a root of a quotient, and a product of two roots."""
    rng = np.random.default_rng(members)
    for _ in range(50):
        x = (rng.standard_normal((members, 25)) + offset).astype(np.float32)
        exact = x.astype(np.float64)
        u = exact.mean(axis=0)
        a = np.sqrt((exact**2).sum(axis=1) / (u @ u))
        u32, _ = float32_scaled_merge(x)
        squares = np.array([row @ row for row in x], np.float32)
        u_error: Float64 = gamma(members + 1) * np.abs(exact).mean(axis=0)
        bound = coefficient_error(exact, u, u_error, a, "norm")
        for a32 in (np.sqrt(squares / (u32 @ u32)), np.sqrt(squares) * np.sqrt(np.float32(1) / (u32 @ u32))):
            assert a32.dtype == np.float32
            assert (np.abs(a32 - a) <= bound).all()
        assert np.isfinite(bound).all()
        assert offset == 0 or (bound < 1e-4 * a).all()


def test_coefficient_error_is_infinite_where_nothing_is_known() -> None:
    x = np.array([[1.0, 1e-9], [-1.0, 1e-9]])
    u = x.mean(axis=0)
    error = gamma(3) * np.abs(x).mean(axis=0)
    assert np.isinf(coefficient_error(x, u, error, x @ u / (u @ u))).all()


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5)])
def test_tolerance_is_tight_enough_to_find_a_wrong_pixel(kernel: tuple[int, int]) -> None:
    """A test that allows a thousandth of the output's own size would not find a wrong coefficient. This one does."""
    problem = build(Case(channels=64, outputs=16, height=9, width=9, kernel=kernel, groups=20, kind="relu"))
    result = problem.reference()
    allowed = tolerance(problem, result)
    assert np.isfinite(allowed).all()
    assert np.median(allowed) < 1e-3 * np.median(np.abs(result.y))
    assert (allowed > 0).all()


def test_tau_close_to_a_residual_is_not_trusted() -> None:
    problem = build(Case(channels=4, height=3, width=3, kernel=(1, 1), pads=(0, 0, 0, 0), groups=1, tau=0.5))
    x = problem.x.astype(np.float64).reshape(4, 9)
    u = x.mean(axis=0)
    residual = ((x - (x @ u / (u @ u))[:, None] * u) ** 2).sum(axis=1)
    edge = float(residual[0] / ((x * x).sum() / 4))
    for tau, trusted in ((edge, False), (edge * 1.001, True)):
        case = build(Case(channels=4, height=3, width=3, kernel=(1, 1), pads=(0, 0, 0, 0), groups=1, tau=tau))
        assert tau_is_trusted(case, case.reference()) is trusted
