"""Pools and copies between layouts of float16 tensors; tests/operator/test_pool.py has the rest."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.compare import Cuda
from tests.operator.test_pool import LAYOUTS, PoolCase, draw, onnx_pool


@pytest.mark.parametrize("layouts", LAYOUTS)
def test_pool(half: Cuda, layouts: tuple[str, str]) -> None:
    x = draw(PoolCase(True)).astype(np.float16).astype(np.float32)
    (expected,) = onnx_pool(PoolCase(True)).run(None, {"X": x})
    assert (half.pool(x, PoolCase(True).params(), layouts) == expected).all()


@pytest.mark.parametrize("layouts", LAYOUTS)
def test_reorder(half: Cuda, layouts: tuple[str, str]) -> None:
    x = draw(PoolCase(True, shape=(2, 48, 5, 7))).astype(np.float16).astype(np.float32)
    assert (half.reorder(x, layouts) == x).all()
