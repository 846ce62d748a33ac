"""Weights stored as float16 are, to the last bit, float32 weights of the same values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from haste_export.contract import MERGES
from tests.operator.backends import Backend
from tests.operator.cases import PATCHES, Case, build
from tests.operator.compare import assert_alignment_is_no_matter

SHAPES = [
    Case(channels=48, outputs=33, height=10, width=11),
    Case(channels=33, outputs=48, height=7, width=4, x_layout="NCHW", y_layout="blocked", z_layout="blocked"),
    Case(channels=64, outputs=17, height=1, width=9),  # patches of one row are not transformed
    Case(channels=48, outputs=33, height=10, width=11, patch=4),
    Case(channels=33, outputs=48, height=9, width=6, patch=5, y_layout="blocked", z_layout="blocked"),
    Case(channels=64, outputs=17, height=7, width=16, patch=6),
    Case(channels=48, outputs=33, height=14, width=9, patch=7),
    Case(channels=48, outputs=80, kernel=(1, 1), pads=(0, 0, 0, 0)),
    Case(channels=17, outputs=20, kernel=(5, 5), pads=(2, 2, 2, 2)),
    Case(channels=31, outputs=33, kernel=(2, 3), pads=(0, 1, 1, 1), patch=2),
]
BUCKETS = {
    "dense": {"count": 0},
    "hashed": {"count": 6, "kind": "relu"},
    "bounded": {"count": 4, "kind": "relu", "tau": 0.3},
    "one bucket": {"groups": 1},
    "a few": {"groups": 7},
}


@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
@pytest.mark.parametrize("buckets", BUCKETS.values(), ids=BUCKETS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda case: f"{case.kernel}-{case.height}x{case.width}-{case.patch}")
def test_same_bits_as_float32(
    backend: Backend, shape: Case, buckets: dict[str, Any], w_layout: str, merge_how: str
) -> None:
    case = replace(shape, **buckets, w_layout=w_layout, w_type="float16", merge_how=merge_how, residual=True, seed=3)
    half = build(case)
    single = replace(half, case=replace(case, w_type="float32"))
    for variant in backend.variants:
        outputs = []
        for problem in (half, single):
            with backend.conv_of(problem, variant) as conv:
                outputs.append(conv.run(half.x, case.count, tau=case.tau, residual=half.residual, labels=half.labels))
        assert np.array_equal(outputs[0].y.view(np.uint32), outputs[1].y.view(np.uint32)), variant
        assert np.array_equal(outputs[0].stats, outputs[1].stats), variant


@pytest.mark.parametrize("patch", PATCHES)
def test_in_place_and_copied(isa: str, patch: int) -> None:
    """Packed halves that are not 64-byte aligned give the same bits as those used in place."""
    problem = build(replace(SHAPES[0], count=6, w_layout="packed", w_type="float16", patch=patch))
    assert_alignment_is_no_matter(problem, (0, 2, 32, 62))


def test_every_float16(backend: Backend) -> None:
    """All 65536, denormal, infinite and NaN among them, each the weight of an output channel."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    case = Case(channels=1, outputs=2**16, kernel=(1, 1), pads=(0, 0, 0, 0), height=1, width=1, count=0)
    problem = build(replace(case, w_type="float16"))
    with np.errstate(invalid="ignore"):
        expected = halves.astype(np.float32)
    one = np.ones((1, 1, 1, 1), np.float32)
    problem = replace(problem, x=one, weights=expected.reshape(-1, 1, 1, 1), bias=np.zeros(2**16, np.float32))
    for variant in backend.variants:
        with backend.conv_of(problem, variant) as conv:
            y = conv.run(one).y.reshape(-1)
        # Of tensor cores an infinite result may be NaN.
        exact = np.isfinite(expected) if backend.precision(case).product else np.full(2**16, True)
        assert np.array_equal(y[exact], expected[exact], equal_nan=True), variant
        assert not np.isfinite(y[~exact]).any(), variant
