"""Values at the ends of float32 come out as from the plain convolution: nothing is lost, and nothing is made up."""

from __future__ import annotations

import numpy as np
import pytest

from tests.operator import native
from tests.operator.c_api import ConvOptions

ISAS = native.available_isas() if native.find_library() else []
KERNELS = [(1, 1), (3, 3), (5, 3)]


def conv(
    kernel: tuple[int, int], activation: str = "", params: tuple[float, ...] = (), merge_how: str = "scaled"
) -> native.Conv:
    weights = np.ones((20, 8, *kernel), np.float32)
    planes = np.ones((4, (kernel[0] + 2) * (kernel[1] + 2)), np.int8)
    options = ConvOptions(merge_how=merge_how, activation=activation, activation_params=params)
    return native.Conv(weights, np.zeros(20, np.float32), planes, options)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("value", [1e-19, 1e-20, 1e-21, 1e-22, 3e17, 1e19])
@pytest.mark.parametrize("merge_how", ["scaled", "norm"])
def test_merge_of_extreme_values(isa: str, kernel: tuple[int, int], value: float, merge_how: str) -> None:
    """Equal channels share a bucket; for some values the squares of their windows are subnormal or infinite."""
    x = np.full((1, 8, 7, 7), value, np.float32)
    with native.selected_isa(isa), conv(kernel, merge_how=merge_how) as layer:
        merged, dense = layer.run(x, 4).y, layer.run(x, 0).y
    assert np.all(np.isfinite(merged))
    np.testing.assert_allclose(merged, dense, rtol=1e-4)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("large", "left"), [(1e20, 2), (1.0, 0), (1e-23, 2)])
def test_norms_that_cannot_be_taken(isa: str, large: float, left: int) -> None:
    """Two members cancel and the others share a good mean: where a norm overflows or underflows its member leaves."""
    x = np.ones((1, 8, 3, 3), np.float32)
    x[0, 0], x[0, 1] = large, -large
    labels = np.zeros((1, 1, 8), np.uint32)
    with native.selected_isa(isa), conv((1, 1), merge_how="norm") as layer:
        y = layer.run(x, labels=labels).y
    # The mean of all eight is 6/8: those that stay come out with their own length, those that leave as they are.
    np.testing.assert_allclose(y, 6.0 + (0 if left else 2.0), rtol=1e-6)


@pytest.mark.parametrize("isa", ISAS)
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
def test_nan_stays_nan(
    isa: str, kernel: tuple[int, int], count: int, activation: str, params: tuple[float, ...]
) -> None:
    """Every pixel that a NaN of the input reaches is a NaN, whatever the activation."""
    x = np.random.default_rng(0).random((1, 8, 9, 9), np.float32)
    x[0, 3, 4, 4] = np.nan
    with native.selected_isa(isa), conv(kernel, activation, params) as layer:
        y = layer.run(x, count).y
    assert np.all(np.isnan(y[0, :, 4 - kernel[0] + 1 : 5, 4 - kernel[1] + 1 : 5]))
