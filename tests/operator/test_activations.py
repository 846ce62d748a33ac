"""Activations from one end of float32 to the other."""

from __future__ import annotations

import numpy as np
import pytest

from haste_export.reference import Float32, activate
from tests.operator import native
from tests.operator.c_api import ConvOptions
from tests.operator.cases import ACTIVATIONS

ISAS = native.available_isas() if native.find_library() else []
SIZES = (0.0, 1e-38, 1e-20, 0.5, 3.0, 20.0, 87.0, 88.0, 88.5, 89.0, 104.0, 1e4, 1e20, 3.4e38)


def identity() -> Float32:
    """1x1 filters of 16 channels that pass their input on."""
    return np.eye(16, dtype=np.float32)[:, :, None, None]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_size(isa: str, activation: str) -> None:
    """Within a few ulp. A Sigmoid that is no normal float32 may be 0, which is then a hundred times as much of Silu."""
    x = np.tile(np.array([sign * size for size in SIZES for sign in (1, -1)], np.float32), (1, 16, 1, 1))
    options = ConvOptions(patch=1, activation=activation, activation_params=ACTIVATIONS[activation])
    planes = np.ones((1, 1), np.int8)
    with native.selected_isa(isa), native.Conv(identity(), np.zeros(16, np.float32), planes, options) as layer:
        y = layer.run(x, 0).y
    expected = activate(x.astype(np.float64), activation, ACTIVATIONS[activation])
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=104 * float(np.finfo(np.float32).tiny))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_stays_nan(isa: str, activation: str) -> None:
    x = np.full((1, 16, 1, 1), np.nan, np.float32)
    options = ConvOptions(patch=1, activation=activation, activation_params=ACTIVATIONS[activation])
    planes = np.ones((1, 1), np.int8)
    with native.selected_isa(isa), native.Conv(identity(), np.zeros(16, np.float32), planes, options) as layer:
        assert np.isnan(layer.run(x, 0).y).all()
