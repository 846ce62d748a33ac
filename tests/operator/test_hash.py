"""Hash codes: bit for bit the same in the reference, on every backend and instruction set, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings

from haste_export.reference import hash_codes
from tests.operator.backends import Backend
from tests.operator.cases import KINDS, Case, build, hash_cases
from tests.operator.compare import check_codes
from tests.operator.threads import examples


@settings(max_examples=examples(1200))
@given(case=hash_cases())
@example(case=Case(channels=512, height=15, width=15, count=14, kind="relu"))
@example(case=Case(channels=3, height=1, width=1, kernel=(1, 1), pads=(0, 0, 0, 0), patch=1, count=32))
@example(case=Case(batch=2, channels=17, height=20, width=4, kernel=(7, 7), pads=(0, 4, 4, 0), patch=5, count=31))
def test_codes_are_bit_identical(backend: Backend, case: Case) -> None:
    if case.seed % backend.samples == 0:
        check_codes(case, backend)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["NCHW", "blocked"])
def test_codes_on_every_kind_of_data(backend: Backend, kind: str, layout: str) -> None:
    """A layer of a usual shape for each kind, so that none depends on what hypothesis happens to draw."""
    check_codes(Case(channels=64, height=10, width=11, count=14, kind=kind, x_layout=layout, seed=7), backend)


def test_codes_do_not_depend_on_larger_l(backend: Backend) -> None:
    """The first bits of a code are the code of fewer hyperplanes: steering never changes the hash."""
    problem = build(Case(channels=33, count=32, kind="relu", seed=3))
    with backend.conv_of(problem) as conv:
        whole = conv.codes(problem.x, 32, problem.case.patches)
        for count in range(1, 32):
            part = conv.codes(problem.x, count, problem.case.patches)
            assert (part == whole & np.uint32((1 << count) - 1)).all()


def test_equal_channels_share_a_code(backend: Backend) -> None:
    problem = build(Case(channels=48, count=32, kind="normal", seed=5))
    x = np.repeat(problem.x[:, :12], 4, axis=1)
    with backend.conv_of(problem) as conv:
        codes = conv.codes(x, 32, problem.case.patches).reshape(-1, 12, 4)
    assert (codes == codes[:, :, :1]).all()


def test_close_channels_hang_on_the_order_of_additions() -> None:
    """The data kind that makes the tests above strict: a mean taken in NumPy's own order gives other codes."""
    problem = build(Case(channels=64, count=14, kind="close", seed=1))
    patches = problem.windows()
    own_order = np.zeros(patches.shape[:-1], np.uint32)
    for bit, v in enumerate(problem.hyperplanes[:14].astype(np.float32)):
        projection = patches @ v
        own_order |= (projection > projection.mean(axis=-1, keepdims=True)).astype(np.uint32) << np.uint32(bit)
    expected = hash_codes(patches, problem.hyperplanes, 14)
    assert (own_order != expected).mean() > 0.2


def test_nan_projection_gives_zero_bits() -> None:
    windows = np.ones((1, 1, 3, 1), np.float32)
    windows[0, 0, 1] = np.nan
    assert hash_codes(windows, np.ones((4, 1), np.int8), 4).tolist() == [[[0, 0, 0]]]


def test_zero_entry_hides_infinity() -> None:
    """A zero of V contributes nothing at all, so what it meets cannot matter."""
    windows = np.array([[np.inf, 1], [np.nan, 3]], np.float32)
    assert hash_codes(windows, np.array([[0, 1]], np.int8), 1).tolist() == [0, 1]
