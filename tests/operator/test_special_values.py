"""Values at the ends of float32 come out as from the plain convolution: nothing is lost, and nothing is made up."""

from __future__ import annotations

import numpy as np
import pytest

from tests.operator import native
from tests.operator.c_api import ConvOptions

ISAS = native.available_isas() if native.find_library() else []
KERNELS = [(1, 1), (3, 3), (5, 3)]


def conv(kernel: tuple[int, int], activation: str = "", params: tuple[float, ...] = ()) -> native.Conv:
    weights = np.ones((20, 8, *kernel), np.float32)
    planes = np.ones((4, (kernel[0] + 2) * (kernel[1] + 2)), np.int8)
    return native.Conv(
        weights, np.zeros(20, np.float32), planes, ConvOptions(activation=activation, activation_params=params)
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("value", [1e-19, 1e-20, 1e-21, 1e-22, 3e17, 1e19])
def test_scaled_merge_of_extreme_values(isa: str, kernel: tuple[int, int], value: float) -> None:
    """Equal channels share a bucket; for some values the squares of their windows are subnormal or infinite."""
    x = np.full((1, 8, 7, 7), value, np.float32)
    with native.selected_isa(isa), conv(kernel) as layer:
        merged, dense = layer.run(x, 4).y, layer.run(x, 0).y
    assert np.all(np.isfinite(merged))
    np.testing.assert_allclose(merged, dense, rtol=1e-4)


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
