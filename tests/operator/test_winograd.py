"""The Winograd forms that the tolerances allow for: exact convolutions, and float32 ones within their bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from haste_export.reference import Float64, taps
from tests.operator import native
from tests.operator.bounds import gamma
from tests.operator.cases import PATCHES, Case, build, reproduction
from tests.operator.plain import by_form, tiles
from tests.operator.winograd import ALONG_Y, TILINGS, Axis, Form, Rationals, direct, forms, nested, toom_cook, winograd

NESTED = tuple(TILINGS)
"""Patches that are computed by F(n,3) along both axes."""


def rational(rng: np.random.Generator, shape: tuple[int, ...]) -> Rationals:
    """Fractions whose numerators and denominators have two digits."""
    above, below = rng.integers(-50, 50, shape).tolist(), rng.integers(1, 50, shape).tolist()
    fractions: Rationals = np.vectorize(Fraction, otypes=[object])(above, below)
    return fractions


def exact_convolution(g: Rationals, d: Rationals) -> Rationals:
    """Each y_ij = sum of g_kl d_(i+k)(j+l), where g meets d."""
    rows, columns = d.shape[0] - 2, d.shape[1] - 2
    return np.array([[(g * d[i : i + 3, j : j + 3]).sum() for j in range(columns)] for i in range(rows)], object)


@pytest.mark.parametrize("outputs", [3, 4])
def test_winograd_is_a_convolution(outputs: int) -> None:
    """Exactly, on rationals: y_i = sum_k g_k d_(i+k)."""
    a, kernel, data = toom_cook(outputs)
    rng = np.random.default_rng(0)
    for _ in range(20):
        g, d = rational(rng, (3,)), rational(rng, (outputs + 2,))
        expected = [(g * d[i : i + 3]).sum() for i in range(outputs)]
        assert (a @ ((kernel @ g) * (data @ d))).tolist() == expected


@pytest.mark.parametrize("patch", NESTED)
@pytest.mark.parametrize("beyond", [0, Fraction(99, 7)])
def test_nested_winograd_is_a_convolution(patch: int, beyond: Fraction) -> None:
    """Exactly, by tiles; what lies beyond the window reaches no output of the patch, so it may be zero."""
    tiling = TILINGS[patch]
    rng = np.random.default_rng(patch)
    for _ in range(5):
        g, d = rational(rng, (3, 3)), rational(rng, (patch + 2, patch + 2))
        window = np.full((sum(tiling) + 2, sum(tiling) + 2), beyond, object)
        window[: patch + 2, : patch + 2] = d
        y = np.empty((sum(tiling), sum(tiling)), object)
        for (rows, read_rows, height), (columns, read_columns, width) in product(tiles(tiling), tiles(tiling)):
            (a_y, g_y, b_y), (a_x, g_x, b_x) = toom_cook(height), toom_cook(width)
            y[rows, columns] = a_y @ ((g_y @ g @ g_x.T) * (b_y @ window[read_rows, read_columns] @ b_x.T)) @ a_x.T
        assert (y[:patch, :patch] == exact_convolution(g, d)).all()


@pytest.mark.parametrize("outputs", [3, 4])
def test_direct_axis_is_a_convolution(outputs: int) -> None:
    axis = direct(outputs)
    rng = np.random.default_rng(0)
    g, d = rng.integers(-50, 50, 3), rng.integers(-50, 50, outputs + 2)
    y = axis.output @ ((axis.kernel @ g) * (axis.data @ d))
    assert y.tolist() == [g @ d[i : i + 3] for i in range(outputs)]


def test_matrices_and_roundings() -> None:
    """As documented and, but for the order of points and the scaling of rows, as in cpp_ops/kernels."""
    three, four = winograd(3), winograd(4)
    assert three.output.tolist() == [[1, 1, 1, 1, 0], [0, 1, -1, 2, 0], [0, 1, 1, 4, 1]]
    assert three.data.tolist()[4] == [0, 2, -1, -2, 1]
    assert four.output.tolist()[3] == [0, 1, -1, 8, -8, 1]
    assert four.data.tolist()[5] == [0, 4, 0, -5, 0, 1]
    assert three.roundings == (1 + 4) + (1 + 3) + (1 + 4)
    assert four.roundings == (1 + 5) + (1 + 3) + (1 + 4)
    assert Form((direct(3),), (direct(3),)).roundings(7) == 7 * 9
    assert ALONG_Y.roundings(7) == 7 * 3 + 14
    assert nested((3, 3)).roundings(7) == 7 + 2 * 14
    assert nested((4, 3)).roundings(7) == 7 + 2 * 15


def test_amplification() -> None:
    """The documented factors, from the documented matrices."""
    assert Form((direct(3),), (direct(3),)).amplification == 1
    assert ALONG_Y.amplification == pytest.approx(float(Fraction(73, 9)), rel=1e-12)
    assert nested((3, 3)).amplification == pytest.approx(float(Fraction(73, 9) ** 2), rel=1e-12)
    assert nested((4,)).amplification == pytest.approx(16**2, rel=1e-12)
    assert nested((4, 3)).amplification == pytest.approx(16**2, rel=1e-12)


@pytest.mark.parametrize("patch", PATCHES)
def test_direct_magnitude(patch: int) -> None:
    """Of the direct form it is the plain sum of products, and no Winograd form's is smaller anywhere."""
    rng = np.random.default_rng(patch)
    filters, inputs = np.exp(3 * rng.standard_normal((4, 5, 9))), np.exp(3 * rng.standard_normal((4, (patch + 2) ** 2)))
    tiling = TILINGS.get(patch, (3,))
    plain, transformed = (tuple(axis(n) for n in tiling) for axis in (direct, winograd))
    magnitude = Form(plain, plain).magnitude(filters, inputs, patch)
    np.testing.assert_allclose(magnitude, np.einsum("bmk,bkp->mp", filters, taps(inputs, (3, 3), patch)), rtol=1e-12)
    along_y, both = (form.magnitude(filters, inputs, patch) for form in (Form(transformed, plain), nested(tiling)))
    assert (along_y > magnitude).all()
    assert (both > along_y).all()


@pytest.mark.parametrize("patch", NESTED)
def test_tiles_share_nothing(patch: int) -> None:
    """An element of the window counts for outputs of the tiles that read it, for those it meets and for no other's."""
    q, tiling = patch + 2, TILINGS[patch]
    for y, x in product(range(q), range(q)):
        inputs = np.zeros((1, q, q))
        inputs[0, y, x] = 1
        magnitude = nested(tiling).magnitude(np.ones((1, 1, 9)), inputs.reshape(1, -1), patch)
        seen = magnitude.reshape(patch, patch) > 0
        reading = np.zeros((sum(tiling), sum(tiling)), bool)
        for (rows, read_rows, _), (columns, read_columns, _) in product(tiles(tiling), tiles(tiling)):
            if read_rows.start <= y < read_rows.stop and read_columns.start <= x < read_columns.stop:
                reading[rows, columns] = True
        assert not (seen & ~reading[:patch, :patch]).any()
        met = np.zeros((q, q), bool)
        met[max(0, y - 2) : y + 1, max(0, x - 2) : x + 1] = True
        assert (seen | ~met[:patch, :patch]).all()


def test_where_each_form_is_allowed() -> None:
    assert forms((3, 3), 3) == (ALONG_Y,)
    assert all(not forms((3, 3), patch) for patch in (1, 2, 8, 9))
    assert all(sum(TILINGS[patch]) >= patch and len(forms((3, 3), patch)) == 1 for patch in NESTED)
    assert all(not forms(kernel, patch) for kernel in ((1, 1), (5, 5), (1, 3), (3, 5)) for patch in range(1, 9))


Change = Callable[[Axis], Axis]


def as_it_is(axis: Axis) -> Axis:
    return axis


def integer_kernel(axis: Axis) -> Axis:
    """As the library scales: G of integers, so that filters are transformed by additions."""
    factors = np.array(
        [
            np.lcm.reduce([Fraction(entry).limit_denominator(100).denominator for entry in row])
            for row in axis.kernel.tolist()
        ],
        np.float64,
    )[:, None]
    return replace(axis, kernel=np.round(axis.kernel * factors), data=axis.data / factors)


def share_of_bound(change: Change, patch: int, buckets: int, seed: int) -> Float64:
    """Error of the changed form over the form's bound [M, p*p], on data that spans some orders of magnitude."""
    form = nested(TILINGS[patch])
    axes = tuple(change(axis) for axis in form.y)
    rng = np.random.default_rng(seed)
    spread = rng.choice([0.0, 1.0, 3.0])
    shapes = ((buckets, 20, 9), (buckets, (patch + 2) ** 2))
    drawn = [rng.standard_normal(shape) * np.exp(spread * rng.standard_normal(shape)) for shape in shapes]
    filters, inputs = (values.astype(np.float32) for values in drawn)
    exact = np.einsum("bmk,bkp->mp", filters.astype(np.float64), taps(inputs.astype(np.float64), (3, 3), patch))
    sizes, magnitudes = (np.abs(values).astype(np.float64) for values in (filters, inputs))
    bound = gamma(form.roundings(buckets)) * form.magnitude(sizes, magnitudes, patch)
    share: Float64 = np.abs(by_form(Form(axes, axes), filters, inputs, patch) - exact) / bound
    return share


@pytest.mark.parametrize("scaled", [as_it_is, integer_kernel])
@pytest.mark.parametrize("patch", NESTED)
@pytest.mark.parametrize("buckets", [1, 8, 64])
def test_bound_holds_in_float32(scaled: Change, patch: int, buckets: int) -> None:
    shares = np.array([share_of_bound(scaled, patch, buckets, seed) for seed in range(30)])
    assert shares.max() <= 1
    assert shares.max() > 0.01 / np.sqrt(buckets), "the bound is no more than some hundred times what it allows for"


@pytest.mark.parametrize("matrix", ["output", "kernel", "data"])
@pytest.mark.parametrize("patch", [4, 6])
def test_a_wrong_constant_breaks_the_bound(matrix: str, patch: int) -> None:
    """Any entry that is off by a thousandth of the largest, in either direction, shows in a result."""
    right = getattr(winograd(TILINGS[patch][0]), matrix)
    for index in np.ndindex(*right.shape):
        for off in (-1e-3, 1e-3):
            changed = right.copy()
            changed[index] += off * np.abs(right).max()
            share = share_of_bound(lambda axis, to=changed: replace(axis, **{matrix: to}), patch, 1, 0)  # type: ignore[misc]
            assert share.max() > 1, f"{matrix}{list(index)} {off:+}"


def check_accuracy(case: Case) -> None:
    """The library's error, root of mean squares, is at most twice that of the same form in plain float32."""
    problem = build(case)
    problem.bias[:] = 0
    (form,) = forms(case.kernel, case.patch)
    expected = problem.reference().before_activation
    windows = problem.windows()
    assert windows.shape[:2] == (case.batch, 1), "one patch an image"
    filters = np.ascontiguousarray(problem.weights.transpose(1, 0, 2, 3)).reshape(case.channels, case.outputs, 9)
    plain = np.array([by_form(form, filters, image[0], case.patch) for image in windows]).reshape(expected.shape)
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
