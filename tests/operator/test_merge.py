"""Merge and convolution with a given grouping, against the reference; no hash, so nothing is discontinuous."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings

from haste_export.contract import MERGES
from tests.operator.cases import ACTIVATIONS, CHANNELS, OUTPUTS, PATCHES, Case, build, reproduction, value_cases
from tests.operator.compare import assert_alignment_is_no_matter, check_values
from tests.operator.threads import examples

pytestmark = pytest.mark.usefixtures("library")
LAYER = Case(channels=32, outputs=32, height=8, width=11, groups=9, seed=11)


def check(case: Case) -> None:
    with reproduction(check_values, case):
        check_values(case)


@settings(max_examples=examples(300))
@given(case=value_cases())
@example(case=Case(batch=0, groups=3))
@example(case=Case(channels=3, outputs=1, height=1, width=1, kernel=(1, 1), pads=(0, 0, 0, 0), patch=1, groups=2))
@example(case=Case(channels=64, outputs=64, height=20, width=20, groups=30, kind="relu"))
def test_given_grouping(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("kind", ["normal", "relu", "equal", "scaled"])
@pytest.mark.parametrize("groups", [1, 7, 500])
@pytest.mark.parametrize("patch", PATCHES)
def test_merges(merge_how: str, kind: str, groups: int, patch: int) -> None:
    check(replace(LAYER, merge_how=merge_how, kind=kind, groups=groups, patch=patch))


@pytest.mark.parametrize("tau", [0.02, 0.3, 0.9, 2.0])
@pytest.mark.parametrize("kind", ["relu", "scaled"])
@pytest.mark.parametrize("patch", [2, *PATCHES])
@pytest.mark.parametrize("merge_how", ["scaled", "norm"])
def test_error_bound(tau: float, kind: str, patch: int, merge_how: str) -> None:
    check(replace(LAYER, tau=tau, kind=kind, patch=patch, merge_how=merge_how))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("patch", PATCHES)
def test_activations(activation: str, residual: bool, patch: int) -> None:
    check(replace(LAYER, activation=activation, residual=residual, patch=patch))


@pytest.mark.parametrize("x_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("z_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
@pytest.mark.parametrize("patch", PATCHES)
def test_layouts(x_layout: str, z_layout: str, y_layout: str, w_layout: str, patch: int) -> None:
    case = replace(LAYER, batch=2, residual=True, w_layout=w_layout, patch=patch)
    check(replace(case, x_layout=x_layout, z_layout=z_layout, y_layout=y_layout))


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
@pytest.mark.parametrize("w_type", ["float32", "float16"])
@pytest.mark.parametrize("patch", PATCHES)
def test_output_channels(outputs: int, w_layout: str, w_type: str, patch: int) -> None:
    check(replace(LAYER, outputs=outputs, w_layout=w_layout, w_type=w_type, patch=patch, residual=True))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("patch", PATCHES)
def test_input_channels(channels: int, kernel: tuple[int, int], patch: int) -> None:
    check(replace(LAYER, channels=channels, kernel=kernel, patch=patch, kind="relu"))


@pytest.mark.parametrize("patch", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (7, 7), (1, 3), (3, 1), (2, 2)])
def test_patches_and_kernels(patch: int, kernel: tuple[int, int]) -> None:
    check(replace(LAYER, channels=16, patch=patch, kernel=kernel, pads=(2, 0, 1, 3)))


@pytest.mark.parametrize(("patch", "rows"), [(patch, rows) for patch in PATCHES for rows in range(1, 2 * patch + 1)])
@pytest.mark.parametrize("layout", ["NCHW", "blocked"])
def test_every_way_that_a_patch_ends(patch: int, rows: int, layout: str) -> None:
    """Maps of up to two patches a side, so the last is cut behind each row and column of each of its tiles."""
    case = replace(LAYER, patch=patch, height=rows, x_layout=layout, z_layout=layout, y_layout=layout, residual=True)
    if layout == "NCHW":
        case = replace(case, batch=2, channels=17, outputs=20)
    for columns in range(1, 2 * patch + 1):
        check(replace(case, width=columns, seed=columns))


@pytest.mark.parametrize("patch", PATCHES)
def test_pads_wider_than_the_image(patch: int) -> None:
    """Whole patches that see nothing but zeros: every channel is zero, and only the bias is left."""
    check(replace(LAYER, height=2, width=3, pads=(9, 8, 10, 7), groups=4, patch=patch))


@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("patch", PATCHES)
def test_buckets_that_cancel(merge_how: str, patch: int) -> None:
    """u = 0: the bucket is skipped, with or without its filters."""
    problem = build(replace(LAYER, kind="integers", groups=1, merge_how=merge_how, channels=16, patch=patch))
    assert problem.labels is not None
    x = np.concatenate([problem.x[:, :8], -problem.x[:, :8]], axis=1)
    with problem.native_conv() as conv:
        output = conv.run(x, labels=problem.labels)
    assert (output.y == problem.bias[:, None, None]).all()


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_tau_that_bounds_nothing(tau: float) -> None:
    problem = build(replace(LAYER, kind="relu"))
    with problem.native_conv() as conv:
        unbounded = problem.native_run(conv)
        same = conv.run(problem.x, labels=problem.labels, tau=tau)
    assert (same.y == unbounded.y).all()


def test_mean_ignores_tau() -> None:
    problem = build(replace(LAYER, kind="relu", merge_how="mean"))
    with problem.native_conv() as conv:
        assert (conv.run(problem.x, labels=problem.labels, tau=0.1).y == problem.native_run(conv).y).all()


@pytest.mark.parametrize("patch", PATCHES)
def test_unaligned_weights_are_copied(patch: int) -> None:
    """Packed weights that are not 64-byte aligned give the same bits as those used in place."""
    problem = build(replace(LAYER, w_layout="packed", patch=patch))
    assert_alignment_is_no_matter(problem, (0, 4, 16, 60))


def test_not_a_number_reaches_the_output() -> None:
    """What a convolution would make NaN is NaN, and other patches do not change."""
    problem = build(replace(LAYER, pads=(0, 0, 0, 0), kernel=(1, 1)))
    x = problem.x.copy()
    x[0, 5, 0, 0] = np.nan
    with problem.native_conv() as conv:
        clean, dirty = (conv.run(each, labels=problem.labels).y for each in (problem.x, x))
    assert np.isnan(dirty[:, :, 0, 0]).all()
    assert (dirty[:, :, 3:] == clean[:, :, 3:]).all()
    assert (dirty[:, :, :, 3:] == clean[:, :, :, 3:]).all()
