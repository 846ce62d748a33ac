from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from haste_export.evaluate.stats import Layer
from haste_export.flops import LayerShape
from haste_export.membus import analytic
from haste_export.membus.geometry import core
from haste_export.membus.layers import MemoryShape
from haste_export.tune.memory import relative_bytes

CORE = core("cortex-a53")
LAYERS = [
    Layer("a", True, LayerShape(64, 64, 30, 30, 3, 3), "scaled"),
    Layer("b", True, LayerShape(512, 512, 15, 15, 3, 3), "scaled"),
    Layer("c", False, LayerShape(3, 64, 30, 30, 3, 3)),
]
SHAPES = [MemoryShape(1, 64, 64, (3, 3), (30, 30)), MemoryShape(1, 512, 512, (3, 3), (15, 15))]


def stats(channels: float, buckets: float, zeros: float) -> np.ndarray:
    return np.array([1, channels, buckets, 0, 0, zeros, 0, 0])


def test_by_hand() -> None:
    plain = [analytic.stock(shape, CORE).total for shape in (*SHAPES, MemoryShape(1, 3, 64, (3, 3), (30, 30)))]
    merged = analytic.haste(SHAPES[1], CORE, kept=0.5, read=0.75).total
    found = relative_bytes(LAYERS, {"a": stats(64, 64, 0), "b": stats(512, 256, 128)}, CORE)
    assert found == pytest.approx((plain[0] + merged + plain[2]) / sum(plain))


def test_a_layer_is_reckoned_with_its_own_patch() -> None:
    layer = replace(LAYERS[1], shape=replace(LAYERS[1].shape, patch=7))
    expected = analytic.haste(replace(SHAPES[1], patch=7), CORE, kept=0.5, read=0.75).total
    assert expected != analytic.haste(SHAPES[1], CORE, kept=0.5, read=0.75).total
    found = relative_bytes([layer], {"b": stats(512, 256, 128)}, CORE)
    assert found == pytest.approx(expected / analytic.stock(SHAPES[1], CORE).total)


def test_nothing_compressed_is_stock() -> None:
    assert relative_bytes(LAYERS, {}, CORE) == 1
