"""Hash codes on the GPU are those of every other backend, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings

from tests.cuda.compare import check_codes, conv_of
from tests.cuda.device import Target
from tests.operator.cases import KINDS, Case, build, hash_cases
from tests.operator.threads import examples


@settings(max_examples=examples(150))
@given(case=hash_cases())
@example(case=Case(channels=3, height=1, width=1, kernel=(1, 1), pads=(0, 0, 0, 0), patch=1, count=32))
@example(case=Case(batch=2, channels=17, height=20, width=4, kernel=(7, 7), pads=(0, 4, 4, 0), patch=5, count=31))
def test_codes_are_bit_identical(target: Target, case: Case) -> None:
    check_codes(target, case)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["NCHW", "blocked"])
def test_codes_on_every_kind_of_data(target: Target, kind: str, layout: str) -> None:
    check_codes(target, Case(channels=64, height=10, width=11, count=14, kind=kind, x_layout=layout, seed=7))


@pytest.mark.parametrize("channels", [130, 512, 1030])
def test_many_channels(target: Target, channels: int) -> None:
    check_codes(target, Case(channels=channels, outputs=1, height=4, width=7, count=14, kind="relu", seed=1))


@pytest.mark.parametrize("layout", ["NCHW", "blocked"])
def test_float16_storage(target: Target, layout: str) -> None:
    """Stored values are hashed in float32: codes are those of the values as stored."""
    check_codes(target, Case(channels=48, height=9, width=8, count=20, kind="relu", x_layout=layout), "float16")


def test_codes_do_not_depend_on_larger_l(target: Target) -> None:
    problem = build(Case(channels=33, count=31, kind="relu", seed=3))
    with conv_of(target, problem) as conv:
        whole = conv.codes(problem.x, 31, problem.case.patches)
        for count in (1, 2, 15, 16, 17, 30):
            part = conv.codes(problem.x, count, problem.case.patches)
            assert (part == whole & np.uint32((1 << count) - 1)).all()
