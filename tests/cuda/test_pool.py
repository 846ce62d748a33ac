"""HasteMaxPool, HasteAveragePool and HasteReorder on the GPU against the CPU's reference: ONNX Runtime's pools."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda import device
from tests.cuda.device import Target
from tests.operator.bounds import gamma
from tests.operator.c_api import NativeError
from tests.operator.test_pool import LAYOUTS, PoolCase, draw, onnx_pool

CASES = [
    PoolCase(True),
    PoolCase(True, kernel=(3, 3), pads=(1, 1, 1, 1), ceil_mode=True, shape=(2, 32, 8, 11)),
    PoolCase(True, kernel=(3, 2), strides=(1, 3), pads=(2, 0, 1, 1), shape=(1, 16, 5, 12)),
    PoolCase(False),
    PoolCase(False, kernel=(3, 3), pads=(1, 1, 1, 1), ceil_mode=True, shape=(2, 32, 8, 11)),
    PoolCase(False, kernel=(3, 3), pads=(1, 1, 1, 1), ceil_mode=True, count_include_pad=True, shape=(1, 16, 8, 10)),
    PoolCase(False, kernel=(7, 7), strides=(1, 1), shape=(1, 48, 7, 7)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("layouts", LAYOUTS)
def test_pools(target: Target, case: PoolCase, layouts: tuple[str, str]) -> None:
    x = draw(case)
    (expected,) = onnx_pool(case).run(None, {"X": x})
    got = device.pool(target, x, case.params(), layouts)
    allowed = 0.0 if case.is_max else 2 * gamma(case.kernel[0] * case.kernel[1] + 1) * float(np.abs(x).max())
    assert got.shape == expected.shape
    assert (np.abs(got - expected) <= allowed).all()


@pytest.mark.parametrize("place", range(4))
def test_nan_is_not_lost(target: Target, place: int) -> None:
    x = np.ones((1, 16, 2, 2), np.float32)
    x.reshape(16, 4)[:, place] = np.nan
    for is_max in (True, False):
        assert np.isnan(device.pool(target, x, PoolCase(is_max).params(), ("NCHW", "blocked"))).all()


def test_pool_of_float16(target: Target) -> None:
    x = draw(PoolCase(True)).astype(np.float16).astype(np.float32)
    (expected,) = onnx_pool(PoolCase(True)).run(None, {"X": x})
    assert (device.pool(target, x, PoolCase(True).params(), ("NCHW", "blocked"), "float16") == expected).all()


def test_pool_of_odd_channels(target: Target) -> None:
    case = PoolCase(True, shape=(2, 5, 6, 7))
    (expected,) = onnx_pool(case).run(None, {"X": draw(case)})
    assert (device.pool(target, draw(case), case.params(), ("NCHW", "NCHW")) == expected).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layouts", LAYOUTS)
def test_reorder(target: Target, layouts: tuple[str, str], dtype: str) -> None:
    x = draw(PoolCase(True, shape=(2, 48, 5, 7))).astype(dtype).astype(np.float32)
    assert (device.reorder(target, x, layouts, dtype) == x).all()


def test_blocked_needs_multiples_of_sixteen(target: Target) -> None:
    with pytest.raises(NativeError, match="multiple of 16 channels"):
        target.check(target.lib.haste_cuda_reorder(0, None, 0, None, 1, 1, 20, 3, 3, None))
