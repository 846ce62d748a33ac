"""The schedule that `haste membus` computes traffic with is the one that the library chooses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from haste_export.contract import BLOCK
from haste_export.membus import analytic
from haste_export.membus.geometry import Cache, Core, core
from haste_export.membus.layers import MemoryShape
from tests.operator import native
from tests.operator.c_api import INVALID_ARGUMENT, ConvOptions, NativeError

VECTORS = {"avx512": (16, 3), "avx2": (8, 1), "neon": (4, 3), "generic": (4, 1)}
"""Floats in a vector, and blocks that the kernel without transforms computes at once; 32-bit ARM's is one."""


def drawn_shape(rng: np.random.Generator) -> MemoryShape:
    """Layers of all sizes that are quickly made."""
    while True:
        kernel = ((3, 3), (3, 3), (3, 3), (1, 1), (5, 5), (1, 7))[rng.integers(6)]
        batch, patch = (int(size) for size in rng.integers(1, (4, 10)))
        channels, filters = (int(size) for size in np.exp(rng.uniform(np.log(5), np.log(700), 2)))
        height, width = (int(size) for size in np.exp(rng.uniform(0, np.log(70), 2)))
        shape = MemoryShape(
            *(batch, channels, filters, kernel, (height, width)),
            weight_size=int(rng.choice([2, 4])),
            patch=patch,
        )
        if channels * filters * kernel[0] * kernel[1] < 2**21:
            return shape


def chosen(shape: MemoryShape) -> analytic.Schedule:
    """By the library, on one thread."""
    options = ConvOptions(patch=shape.patch, w_layout="packed", w_type={2: "float16", 4: "float32"}[shape.weight_size])
    weights = np.zeros((shape.filters, shape.channels, *shape.kernel), np.float32)
    window = (shape.patch + shape.kernel[0] - 1) * (shape.patch + shape.kernel[1] - 1)
    planes = np.ones((analytic.HYPERPLANES, window), np.int8)
    height, width = (size + side - 1 for size, side in zip(shape.output, shape.kernel, strict=True))
    with native.Conv(weights, weights[:, 0, 0, 0], planes, options) as conv:
        plan = conv.schedule(shape.batch, height, width, analytic.HYPERPLANES)
    if plan.slice_blocks:
        slices = ceil(ceil(shape.filters / BLOCK) / plan.slice_blocks)
        return analytic.Schedule("slice", slices=slices, patches=plan.slice_patches)
    if plan.weights_stay:
        return analytic.Schedule("weights", plan.chunk_floats)
    assert plan.chunk_patches == analytic.MAX_CHUNK
    return analytic.Schedule("windows", plan.chunk_floats)


@pytest.fixture
def as_on_arm(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the analytic model, which is of 64-bit ARM, reckon with this instruction set's vectors."""
    lanes, blocks = VECTORS[isa]
    monkeypatch.setattr(analytic, "LANES", lanes)
    monkeypatch.setattr(analytic, "BLOCKS_AT_ONCE", blocks)


def with_l2(size: int) -> Core:
    return replace(core("cortex-a72"), l2=Cache(size, 16))


@pytest.mark.usefixtures("as_on_arm")
def test_the_library_chooses_what_the_model_computes() -> None:
    rng = np.random.default_rng(0)
    seen: Counter[str] = Counter()
    for _ in range(400):
        shape, size = drawn_shape(rng), int(rng.choice([128, 256, 512, 1024, 2048])) * 1024
        with native.l2_cache(size):
            expected = chosen(shape)
        assert analytic.schedule(shape, with_l2(size)) == expected, f"{shape}, L2 of {size} bytes"
        seen[expected.stays] += 1
    assert min(seen[stays] for stays in ("weights", "windows", "slice")) >= 40, seen


@pytest.mark.usefixtures("as_on_arm")
@pytest.mark.parametrize("patch", [3, 7])
@pytest.mark.parametrize(("channels", "side"), [(64, 240), (128, 120), (256, 60), (512, 30), (512, 15), (512, 4)])
def test_layers_of_networks(channels: int, side: int, patch: int) -> None:
    shape = MemoryShape(1, channels, channels, (3, 3), (side, side), patch=patch)
    for size in (2**19, 2**20, 2**21):
        with native.l2_cache(size):
            assert analytic.schedule(shape, with_l2(size)) == chosen(shape), size


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("batch", "height", "width", "count", "says"),
    [
        (-1, 9, 9, 3, "batch -1"),
        (1, 9, 9, 5, "L = 5 hyperplanes asked for, but the model has 4"),
        (1, 2, 9, 3, "kernel 3x3 does not fit"),
    ],
)
def test_a_call_that_a_run_would_refuse(batch: int, height: int, width: int, count: int, says: str) -> None:
    weights, planes = np.zeros((16, 16, 3, 3), np.float32), np.ones((4, 25), np.int8)
    with (
        native.Conv(weights, weights[:, 0, 0, 0], planes) as conv,
        pytest.raises(NativeError, match=says) as refused,
    ):
        conv.schedule(batch, height, width, count)
    assert refused.value.status == INVALID_ARGUMENT
    assert native.library().haste_conv_schedule(None, None, None) == INVALID_ARGUMENT
