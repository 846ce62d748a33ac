"""Values at the ends of float32 come out as from the plain convolution: nothing is lost, and nothing is made up.

What is not finite may reach further, as docs/operator.md says, where a Winograd convolution takes several pixels
together: it spoils the outputs that are computed from it, and changes no bit of any other.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from haste_export.reference import haste_conv
from tests.operator.backends import Backend
from tests.operator.c_api import ConvOptions
from tests.operator.cases import PATCHES, Case, build
from tests.operator.layer import Layer

KERNELS = [(1, 1), (3, 3), (5, 3)]


def conv(
    backend: Backend,
    variant: str,
    kernel: tuple[int, int],
    activation: str = "",
    params: tuple[float, ...] = (),
    merge_how: str = "scaled",
    patch: int = 3,
) -> Layer:
    weights = np.ones((20, 8, *kernel), np.float32)
    planes = np.ones((4, (kernel[0] + patch - 1) * (kernel[1] + patch - 1)), np.int8)
    options = ConvOptions(patch=patch, merge_how=merge_how, activation=activation, activation_params=params)
    return backend.conv(weights, np.zeros(20, np.float32), planes, options, variant)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("value", [1e-19, 1e-20, 1e-21, 1e-22, 3e17, 1e19])
@pytest.mark.parametrize("merge_how", ["scaled", "norm"])
@pytest.mark.parametrize("patch", PATCHES)
def test_merge_of_extreme_values(
    backend: Backend, kernel: tuple[int, int], value: float, merge_how: str, patch: int
) -> None:
    """Equal channels share a bucket; for some values the squares of their windows are subnormal or infinite."""
    x = np.full((1, 8, 7, 7), value, np.float32)
    for variant in backend.variants:
        with conv(backend, variant, kernel, merge_how=merge_how, patch=patch) as layer:
            merged, dense = layer.run(x, 4).y, layer.run(x, 0).y
        assert np.all(np.isfinite(merged)), variant
        np.testing.assert_allclose(merged, dense, rtol=1e-4, err_msg=variant)


# Of eight channels of one pixel, the first zero of them zero and the others `value`: the square of their sum, and what
# the statistics are then, from the third on.
SUMS = {
    "normal": (1e-19, 0, [1, 1, 0, 0, 8, 0]),
    "normal, and that of one is not": (2e-20, 0, [1, 1, 0, 0, 8, 0]),
    "subnormal": (1e-22, 0, [8, 0, 0, 0, 0, 8]),
    "zero": (1e-24, 0, [1, 1, 1, 0, 0, 0]),
    "infinite": (1e19, 0, [8, 0, 0, 0, 0, 8]),
    "infinite, and that of one is not": (4e18, 0, [8, 0, 0, 0, 0, 8]),
    "subnormal beside zeros": (1e-22, 3, [6, 1, 1, 3, 0, 5]),
    "subnormal, of one beside zeros": (1e-22, 7, [1, 1, 0, 7, 1, 0]),
    "zero, of one beside zeros": (1e-24, 7, [1, 1, 0, 7, 1, 0]),
    "infinite beside zeros": (1e19, 6, [3, 1, 1, 6, 0, 2]),
    "not a number": (np.nan, 0, [8, 0, 0, 0, 0, 8]),
    "not a number beside zeros": (np.nan, 4, [5, 1, 1, 4, 0, 4]),
}


@pytest.mark.parametrize(("value", "zeros", "stats"), SUMS.values(), ids=SUMS)
@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_the_reference_leaves_the_same_buckets(value: float, zeros: int, stats: list[int], tau: float) -> None:
    x = np.full((1, 8, 1, 1), value, np.float32)
    x[0, :zeros] = 0
    weights = np.arange(1, 161, dtype=np.float32).reshape(20, 8, 1, 1)
    layer = weights, np.zeros(20, np.float32), np.zeros((1, 1), np.int8)
    merged, dense = (haste_conv(x, *layer, count, tau=tau, patch=1) for count in (1, 0))
    assert merged.stats[2:].tolist() == stats
    if not stats[2] or zeros:
        np.testing.assert_allclose(merged.y, dense.y, rtol=1e-12)


@pytest.mark.parametrize(("value", "zeros", "stats"), SUMS.values(), ids=SUMS)
@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_buckets_that_are_not_merged(backend: Backend, value: float, zeros: int, stats: list[int], tau: float) -> None:
    """By the square of their sum; then every channel that is not zero is convolved alone."""
    x = np.full((1, 8, 1, 1), value, np.float32)
    x[0, :zeros] = 0
    for variant in backend.variants:
        weights = np.arange(1, 161, dtype=np.float32).reshape(20, 8, 1, 1)
        planes = np.zeros((1, 1), np.int8)  # one code for all
        with backend.conv(weights, np.zeros(20, np.float32), planes, ConvOptions(patch=1), variant) as layer:
            merged, dense = layer.run(x, 1, tau=tau), layer.run(x, 0).y
        assert merged.stats[2:].tolist() == stats, variant
        if not stats[2] or zeros:  # else u = 0, and the bucket is skipped
            np.testing.assert_allclose(merged.y, dense, rtol=1e-6, err_msg=variant)


def test_mean_divides_by_no_square(backend: Backend) -> None:
    """So a bucket of `mean` is merged whatever its sum is."""
    x = np.full((1, 8, 1, 1), 1e-22, np.float32)
    options = ConvOptions(patch=1, merge_how="mean")
    for variant in backend.variants:
        weights, planes = np.ones((20, 8, 1, 1), np.float32), np.zeros((1, 1), np.int8)
        with backend.conv(weights, np.zeros(20, np.float32), planes, options, variant) as layer:
            merged = layer.run(x, 1)
        assert merged.stats[2:].tolist() == [1, 1, 0, 0, 8, 0], variant
        np.testing.assert_allclose(merged.y, 8e-22, rtol=1e-5)


@pytest.mark.parametrize(("large", "left"), [(1e20, True), (1.0, False), (1e-23, True)])
def test_norms_that_cannot_be_taken(backend: Backend, large: float, left: bool) -> None:
    """Two members cancel and the others share a good mean: where a norm overflows or underflows its member leaves."""
    x = np.ones((1, 8, 2, 2), np.float32)
    x[0, 0], x[0, 1] = large, -large
    labels = np.zeros((1, 1, 8), np.uint32)
    for variant in backend.variants:
        # Patch 2: tensor cores do not see it, and lose six beside 1e20 before its opposite is added.
        with conv(backend, variant, (1, 1), merge_how="norm", patch=2) as layer:
            y = layer.run(x, labels=labels).y
        # The mean of all eight is 6/8: those that stay come out with their own length, those that leave as they are.
        np.testing.assert_allclose(y, 6.0 if left else 8.0, rtol=1e-5, err_msg=variant)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("count", [0, 4])
@pytest.mark.parametrize(
    ("activation", "params"),
    [
        ("", ()),
        ("Relu", ()),
        ("Clip", (0.0, 6.0)),
        ("LeakyRelu", (0.1,)),
        ("HardSwish", ()),
        ("Silu", ()),
        ("Sigmoid", ()),
    ],
)
@pytest.mark.parametrize("patch", PATCHES)
def test_nan_stays_nan(
    backend: Backend, kernel: tuple[int, int], count: int, activation: str, params: tuple[float, ...], patch: int
) -> None:
    """Every pixel that a NaN of the input reaches is a NaN, whatever the activation."""
    x = np.random.default_rng(0).random((1, 8, 9, 9), np.float32)
    x[0, 3, 4, 4] = np.nan
    for variant in backend.variants:
        with conv(backend, variant, kernel, activation, params, patch=patch) as layer:
            y = layer.run(x, count).y
        assert np.all(np.isnan(y[0, :, 4 - kernel[0] + 1 : 5, 4 - kernel[1] + 1 : 5])), variant


def outputs_of(position: int, size: int, patch: int, tiling: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which outputs [size] along an axis may see the element at `position`, in pixels of the padded image.

    A patch is computed in tiles of so many outputs, which all see what any of their 3 taps meets in the patch's window.
    """
    outputs = np.arange(size)
    start = outputs // patch * patch
    of_offset = np.repeat(np.arange(len(tiling)), tiling)  # the tile of each output of a patch
    tile = of_offset[outputs - start]
    first = start + np.cumsum((0, *tiling))[tile]
    last = np.minimum(first + np.array(tiling)[tile] + 1, start + patch + 1)
    seen: NDArray[np.bool_] = (first <= position) & (position <= last)
    return seen


@pytest.mark.parametrize("patch", [1, 2, *PATCHES, 8])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("count", "merge_how"), [(0, "scaled"), (4, "scaled"), (4, "mean")])
def test_how_far_a_non_finite_value_reaches(
    backend: Backend, patch: int, value: float, count: int, merge_how: str
) -> None:
    """From every pixel: at least the outputs whose taps meet it, and at most what is computed together with those."""
    size, channels = 13, 5
    case = Case(1, channels, 20, size, size, count=count, patch=patch, merge_how=merge_how, seed=patch)
    problem = build(case)
    single, whole = (1,) * patch, (patch,)
    pixels = list(product(range(size), range(size)))[:: backend.samples]
    for variant in backend.variants:
        with backend.conv_of(problem, variant) as layer:
            clean = layer.run(problem.x, count).y[0]
            for at, (row, column) in enumerate(pixels):
                x = problem.x.copy()
                x[0, at % channels, row, column] = value
                y = layer.run(x, count).y[0]
                padded = (row + 1, column + 1)
                met, spoilt, patches = (
                    np.outer(outputs_of(padded[0], size, patch, rows), outputs_of(padded[1], size, patch, columns))
                    for rows, columns in ((single, single), backend.together(patch), (whole, whole))
                )
                where = f"{variant} from ({row}, {column})"
                assert not np.isfinite(y[:, met]).any(), where
                assert np.isfinite(y[:, ~spoilt]).all(), where
                # A patch that holds it may be grouped in another way, except where nothing is.
                same = ~(patches if count else spoilt)
                assert (y[:, same] == clean[:, same]).all(), where
