"""The Winograd forms that the tolerances allow for: exact convolutions, and float32 ones within their bounds."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from haste_export.reference import Float32, Float64, taps
from tests.operator import native
from tests.operator.bounds import gamma
from tests.operator.cases import PATCHES, Case, build, reproduction
from tests.operator.winograd import ALONG_Y, DIRECT, NESTED, WINOGRAD, Axis, Form, Rationals, forms, toom_cook

NESTED_PATCHES = PATCHES[1:]


def rational(rng: np.random.Generator, shape: tuple[int, ...]) -> Rationals:
    """Fractions whose numerators and denominators have two digits."""
    above, below = rng.integers(-50, 50, shape).tolist(), rng.integers(1, 50, shape).tolist()
    return np.vectorize(Fraction, otypes=[object])(above, below)


def exact_convolution(g: Rationals, d: Rationals) -> Rationals:
    """Each y_ij = sum of g_kl d_(i+k)(j+l), where g meets d."""
    rows, columns = d.shape[0] - 2, d.shape[1] - 2
    return np.array([[(g * d[i : i + 3, j : j + 3]).sum() for j in range(columns)] for i in range(rows)], object)


def test_winograd_is_a_convolution() -> None:
    """Exactly, on rationals: y_i = sum_k g_k d_(i+k)."""
    a, kernel, data = toom_cook()
    rng = np.random.default_rng(0)
    for _ in range(20):
        g, d = rational(rng, (3,)), rational(rng, (5,))
        assert (a @ ((kernel @ g) * (data @ d))).tolist() == [(g * d[i : i + 3]).sum() for i in range(3)]


@pytest.mark.parametrize("patch", NESTED_PATCHES)
@pytest.mark.parametrize("beyond", [0, Fraction(99, 7)])
def test_nested_winograd_is_a_convolution(patch: int, beyond: Fraction) -> None:
    """Exactly, by subtiles of 3x3; what lies beyond the window reaches no output of the patch, so it may be zero."""
    a, kernel, data = toom_cook()
    rng = np.random.default_rng(patch)
    for _ in range(5):
        g, d = rational(rng, (3, 3)), rational(rng, (patch + 2, patch + 2))
        window = np.pad(d, (0, 6 - patch), constant_values=beyond)  # type: ignore[call-overload]  # objects
        y = np.empty((6, 6), object)
        for top, left in product((0, 3), (0, 3)):
            piece = window[top : top + 5, left : left + 5]
            y[top : top + 3, left : left + 3] = a @ ((kernel @ g @ kernel.T) * (data @ piece @ data.T)) @ a.T
        assert (y[:patch, :patch] == exact_convolution(g, d)).all()


def test_direct_form_is_a_convolution() -> None:
    rng = np.random.default_rng(0)
    g, d = rng.integers(-50, 50, 3), rng.integers(-50, 50, 5)
    y = DIRECT.output @ ((DIRECT.kernel @ g) * (DIRECT.data @ d))
    assert y.tolist() == [g @ d[i : i + 3] for i in range(3)]


def test_matrices_and_roundings() -> None:
    """As documented and, but for the scaling of rows, as in cpp_ops/kernels."""
    assert WINOGRAD.output.tolist() == [[1, 1, 1, 1, 0], [0, 1, -1, 2, 0], [0, 1, 1, 4, 1]]
    assert WINOGRAD.data.tolist()[4] == [0, 2, -1, -2, 1]
    assert WINOGRAD.roundings == (1 + 4) + (1 + 3) + (1 + 4)
    assert Form(DIRECT, DIRECT).roundings(7) == 7 * 9
    assert ALONG_Y.roundings(7) == 7 * 3 + 14
    assert NESTED.roundings(7) == 7 + 2 * 14


def test_amplification() -> None:
    """The documented factors, from the documented matrices."""
    assert Form(DIRECT, DIRECT).amplification == 1
    assert ALONG_Y.amplification == pytest.approx(float(Fraction(73, 9)), rel=1e-12)
    assert NESTED.amplification == pytest.approx(float(Fraction(73, 9) ** 2), rel=1e-12)


@pytest.mark.parametrize("patch", PATCHES)
def test_direct_magnitude(patch: int) -> None:
    """Of the direct form it is the plain sum of products, and no Winograd form's is smaller anywhere."""
    rng = np.random.default_rng(patch)
    filters, inputs = np.exp(3 * rng.standard_normal((4, 5, 9))), np.exp(3 * rng.standard_normal((4, (patch + 2) ** 2)))
    direct = Form(DIRECT, DIRECT).magnitude(filters, inputs, patch)
    expected = np.einsum("bmk,bkp->mp", filters, taps(inputs, (3, 3), patch))
    np.testing.assert_allclose(direct, expected, rtol=1e-12)
    along_y, nested = (form.magnitude(filters, inputs, patch) for form in (ALONG_Y, NESTED))
    assert (along_y > direct).all()
    assert (nested > along_y).all()


@pytest.mark.parametrize("patch", NESTED_PATCHES)
def test_subtiles_share_nothing(patch: int) -> None:
    """An element of the window counts for all outputs of the subtiles that read it, and for no other."""
    q = patch + 2
    for y, x in product(range(q), range(q)):
        inputs = np.zeros((1, q, q))
        inputs[0, y, x] = 1
        seen = NESTED.magnitude(np.ones((1, 1, 9)), inputs.reshape(1, -1), patch).reshape(patch, patch) > 0
        reading = np.zeros((6, 6), bool)
        for top, left in product((0, 3), (0, 3)):
            if top <= y < top + 5 and left <= x < left + 5:
                reading[top : top + 3, left : left + 3] = True
        assert not (seen & ~reading[:patch, :patch]).any()
        touched = np.zeros((q, q), bool)
        touched[max(0, y - 2) : y + 1, max(0, x - 2) : x + 1] = True
        assert (seen | ~touched[:patch, :patch]).all()


def test_where_each_form_is_allowed() -> None:
    assert [forms((3, 3), patch) for patch in (1, 2, 3, 7, 8)] == [(), (), (ALONG_Y,), (), ()]
    assert all(forms((3, 3), patch) == (NESTED,) for patch in NESTED_PATCHES)
    assert all(not forms(kernel, patch) for kernel in ((1, 1), (5, 5), (1, 3), (3, 5)) for patch in range(1, 9))


def rescaled(axis: Axis, factors: Float64) -> Axis:
    """Rows of G times the factors, and those of B^T divided by them."""
    column = factors[:, None]
    return Axis(axis.output, axis.kernel * column, axis.data / column, axis.terms, axis.roundings)


INTEGER_KERNEL = rescaled(WINOGRAD, np.array([2.0, -2.0, -6.0, 6.0, 1.0]))
"""As the library scales: G of integers, so that filters are transformed by additions."""


def in_float32(form: Form, filters: Float32, inputs: Float32, patch: int) -> Float32:
    """The form with every operation rounded: filters [C~, M, 9], inputs [C~, (p+2)^2], result [M, p*p]."""
    (a_y, g_y, b_y), (a_x, g_x, b_x) = (
        [matrix.astype(np.float32) for matrix in (axis.output, axis.kernel, axis.data)] for axis in (form.y, form.x)
    )
    buckets, outputs = filters.shape[:2]
    g = g_y @ filters.reshape(buckets, outputs, 3, 3) @ g_x.T
    window = np.zeros((buckets, 8, 8), np.float32)
    window[:, : patch + 2, : patch + 2] = inputs.reshape(buckets, patch + 2, patch + 2)
    y = np.zeros((outputs, 6, 6), np.float32)
    for top, left in product((0, 3), (0, 3)):
        d = b_y @ window[:, top : top + 5, left : left + 5] @ b_x.T
        total = np.zeros((outputs, *d.shape[1:]), np.float32)
        for bucket in range(buckets):
            total += g[bucket] * d[bucket]
        y[:, top : top + 3, left : left + 3] = a_y @ total @ a_x.T
    return y[:, :patch, :patch].reshape(outputs, patch * patch)


def share_of_bound(axis: Axis, patch: int, buckets: int, seed: int) -> Float64:
    """Error of the float32 convolution over its bound [M, p*p], on data that spans some orders of magnitude."""
    rng = np.random.default_rng(seed)
    spread = rng.choice([0.0, 1.0, 3.0])
    shapes = ((buckets, 20, 9), (buckets, (patch + 2) ** 2))
    drawn = [rng.standard_normal(shape) * np.exp(spread * rng.standard_normal(shape)) for shape in shapes]
    filters, inputs = (values.astype(np.float32) for values in drawn)
    exact = np.einsum("bmk,bkp->mp", filters.astype(np.float64), taps(inputs.astype(np.float64), (3, 3), patch))
    sizes, magnitudes = (np.abs(values).astype(np.float64) for values in (filters, inputs))
    bound = gamma(NESTED.roundings(buckets)) * NESTED.magnitude(sizes, magnitudes, patch)
    return np.abs(in_float32(Form(axis, axis), filters, inputs, patch) - exact) / bound


@pytest.mark.parametrize("axis", [WINOGRAD, INTEGER_KERNEL], ids=["rational G", "integer G"])
@pytest.mark.parametrize("patch", NESTED_PATCHES)
@pytest.mark.parametrize("buckets", [1, 8, 64])
def test_bound_holds_in_float32(axis: Axis, patch: int, buckets: int) -> None:
    shares = np.array([share_of_bound(axis, patch, buckets, seed) for seed in range(30)])
    assert shares.max() <= 1
    assert shares.max() > 0.01 / np.sqrt(buckets), "the bound is no more than some hundred times what it allows for"


@pytest.mark.parametrize("matrix", ["output", "kernel", "data"])
@pytest.mark.parametrize("patch", NESTED_PATCHES)
def test_a_wrong_constant_breaks_the_bound(matrix: str, patch: int) -> None:
    """Any entry that is off by a thousandth, in either direction, shows in a result."""
    right = getattr(WINOGRAD, matrix)
    for index in np.ndindex(*right.shape):
        for change in (-1e-3, 1e-3):
            changed = right.copy()
            changed[index] += change
            wrong = Axis(**{**vars(WINOGRAD), matrix: changed})
            assert share_of_bound(wrong, patch, 1, 0).max() > 1, f"{matrix}{list(index)} {change:+}"


def check_accuracy(case: Case) -> None:
    """The library's error, root of mean squares, is at most twice that of the same form in plain float32."""
    problem = build(case)
    problem.bias[:] = 0
    (form,) = forms(case.kernel, case.patch)
    expected = problem.reference().before_activation
    windows = problem.windows()
    assert windows.shape[:2] == (case.batch, 1), "one patch an image"
    filters = np.ascontiguousarray(problem.weights.transpose(1, 0, 2, 3)).reshape(case.channels, case.outputs, 9)
    plain = np.array([in_float32(form, filters, image[0], case.patch) for image in windows]).reshape(expected.shape)
    allowed = 2 * np.sqrt(np.mean((plain - expected) ** 2))
    for isa in native.available_isas():
        with native.selected_isa(isa), problem.native_conv() as conv:
            error = np.sqrt(np.mean((problem.native_run(conv).y - expected) ** 2))
        assert error <= allowed, f"{isa}: {error:.3g}, allowed {allowed:.3g}"


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("channels", [1, 2, 16])
def test_library_is_as_accurate_as_its_form(patch: int, channels: int) -> None:
    """Finds a constant that is off by some units of 10^-6, which worst-case bounds leave room for."""
    case = Case(40, channels, 32, patch, patch, patch=patch, count=0, seed=channels)
    with reproduction(check_accuracy, case):
        check_accuracy(case)
