"""The tolerances themselves: wide enough for float32 done in any order, and no wider than needed by much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from haste_export.reference import Float32, Float64
from tests.operator.bounds import UNIT, coefficient_error, gamma, tau_is_trusted, tolerance
from tests.operator.cases import PATCHES, Case, build
from tests.operator.compare import assert_within
from tests.operator.winograd import forms


def test_gamma() -> None:
    assert gamma(0) == 0
    assert gamma(1) == pytest.approx(UNIT, rel=1e-6)
    assert gamma(1000) > 1000 * UNIT


def float32_scaled_merge(x: Float32) -> tuple[Float32, Float32]:
    """One bucket in plain float32: its mean and its coefficients."""
    total = np.zeros(x.shape[1], np.float32)
    for row in x:
        total += row
    u = total * (np.float32(1) / np.float32(len(x)))
    return u, np.array([row @ u for row in x], np.float32) / np.float32(u @ u)


def drawn_windows(members: int, offset: float) -> Iterator[tuple[Float32, Float64, Float64, Float64]]:
    """Windows of a bucket in float32, the same in float64, their mean there, and the bound of its rounding."""
    rng = np.random.default_rng(members)
    for _ in range(50):
        x = (rng.standard_normal((members, 25)) + offset).astype(np.float32)
        exact = x.astype(np.float64)
        yield x, exact, exact.mean(axis=0), gamma(members + 1) * np.abs(exact).mean(axis=0)


@pytest.mark.parametrize("members", [2, 3, 17, 200])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_coefficient_error_holds(members: int, offset: float) -> None:
    """Also without an offset, where the mean of many windows cancels and the coefficients are at their worst."""
    for x, exact, u, u_error in drawn_windows(members, offset):
        a = exact @ u / (u @ u)
        u32, a32 = float32_scaled_merge(x)
        bound = coefficient_error(exact, u, u_error, a)
        assert (np.abs(u32 - u) <= u_error).all()
        assert (np.abs(a32 - a) <= bound).all()
        assert np.isfinite(bound).all()


@pytest.mark.parametrize("members", [2, 3, 17, 200])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_error_of_the_norms_holds(members: int, offset: float) -> None:
    """Both ways to write it in float32: a root of a quotient, and a product of two roots."""
    for x, exact, u, u_error in drawn_windows(members, offset):
        a = np.sqrt((exact**2).sum(axis=1) / (u @ u))
        u32, _ = float32_scaled_merge(x)
        squares = np.array([row @ row for row in x], np.float32)
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


@pytest.mark.parametrize(("kernel", "patch"), [((1, 1), 3), ((3, 3), 3), ((3, 3), 5), ((3, 3), 6), ((5, 5), 3)])
def test_tolerance_is_tight_enough_to_find_a_wrong_pixel(kernel: tuple[int, int], patch: int) -> None:
    """A test that allows a thousandth of the output's own size would not find a wrong coefficient. This one does.

    F(4,3) along both axes (3x3 at p = 4 and 7) is not among them, for its bound is some 1.2 thousandths here:
    test_accuracy.py and test_winograd.py compare its accuracy, and test_dense.py its results on a single channel.
    """
    case = Case(channels=64, outputs=16, height=9, width=9, kernel=kernel, patch=patch, groups=20, kind="relu")
    problem = build(case)
    result = problem.reference()
    allowed = tolerance(problem, result)
    assert np.isfinite(allowed).all()
    assert np.median(allowed) < 1e-3 * np.median(np.abs(result.y))
    assert (allowed > 0).all()


@pytest.mark.parametrize(("patch", "groups"), [(3, 20), (4, 20), (5, 0), (6, 0), (7, 20)])
def test_an_error_above_the_bound_is_found(patch: int, groups: int) -> None:
    """Of one element among thousands, wherever in a patch it is."""
    problem = build(
        Case(channels=32, outputs=20, height=13, width=13, patch=patch, groups=groups, count=0, kind="relu")
    )
    result = problem.reference()
    allowed = tolerance(problem, result)
    rng = np.random.default_rng(patch)
    for _ in range(100):
        index = tuple(rng.integers(0, allowed.shape))
        off = result.y + allowed * np.where(rng.random(allowed.shape) < 0.5, -0.999, 0.999)
        assert assert_within(off, result.y, allowed) == pytest.approx(0.999, rel=1e-6)
        off[index] = result.y[index] + rng.choice([-1.01, 1.01]) * allowed[index]
        with pytest.raises(AssertionError, match=r"^1 of .* elements are off"):
            assert_within(off, result.y, allowed)


@pytest.mark.parametrize("patch", PATCHES)
def test_a_winograd_bound_is_that_of_its_form(patch: int) -> None:
    """One channel, dense, no cancellation: the tolerance follows the form's magnitude, and little comes on top."""
    case = Case(channels=1, outputs=1, height=patch + 2, width=patch + 2, pads=(0, 0, 0, 0), patch=patch, count=0)
    problem = build(case)
    ones = replace(
        problem, x=np.ones_like(problem.x), weights=np.ones_like(problem.weights), bias=np.zeros(1, np.float32)
    )
    allowed = tolerance(ones, ones.reference()).reshape(1, -1)
    (form,) = forms((3, 3), patch)
    magnitude = form.magnitude(np.ones((1, 1, 9)), np.ones((1, (patch + 2) ** 2)), patch)
    own = gamma(2 + form.roundings(1)) * magnitude
    direct = gamma(2 + 9) * 9
    assert (allowed > np.maximum(own, direct)).all()
    assert (allowed < np.maximum(own, direct) + 5 * UNIT * 9).all()


def test_tau_close_to_a_residual_is_not_trusted() -> None:
    problem = build(Case(channels=4, height=3, width=3, kernel=(1, 1), pads=(0, 0, 0, 0), groups=1, tau=0.5))
    x = problem.x.astype(np.float64).reshape(4, 9)
    u = x.mean(axis=0)
    residual = ((x - (x @ u / (u @ u))[:, None] * u) ** 2).sum(axis=1)
    edge = float(residual[0] / ((x * x).sum() / 4))
    for tau, trusted in ((edge, False), (edge * 1.001, True)):
        case = build(Case(channels=4, height=3, width=3, kernel=(1, 1), pads=(0, 0, 0, 0), groups=1, tau=tau))
        assert tau_is_trusted(case, case.reference()) is trusted
