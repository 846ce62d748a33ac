"""Merge and convolution with a given grouping, against the reference; no hash, so nothing is discontinuous.

Every backend computes the same cases.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings

from haste_export.contract import MERGES
from tests.operator.backends import Backend
from tests.operator.cases import ACTIVATIONS, CHANNELS, OUTPUTS, PATCHES, Case, build, value_cases
from tests.operator.compare import assert_alignment_is_no_matter, check_values
from tests.operator.threads import examples

LAYER = Case(channels=32, outputs=32, height=8, width=11, groups=9, seed=11)


@settings(max_examples=examples(300))
@given(case=value_cases())
@example(case=Case(batch=0, groups=3))
@example(case=Case(channels=3, outputs=1, height=1, width=1, kernel=(1, 1), pads=(0, 0, 0, 0), patch=1, groups=2))
@example(case=Case(channels=64, outputs=64, height=20, width=20, groups=30, kind="relu"))
def test_given_grouping(backend: Backend, case: Case) -> None:
    check_values(case, backend)


@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("kind", ["normal", "relu", "equal", "scaled"])
@pytest.mark.parametrize("groups", [1, 7, 500])
@pytest.mark.parametrize("patch", PATCHES)
def test_merges(backend: Backend, merge_how: str, kind: str, groups: int, patch: int) -> None:
    check_values(replace(LAYER, merge_how=merge_how, kind=kind, groups=groups, patch=patch), backend)


@pytest.mark.parametrize("tau", [0.02, 0.3, 0.9, 2.0])
@pytest.mark.parametrize("kind", ["relu", "scaled"])
@pytest.mark.parametrize("patch", [2, *PATCHES])
@pytest.mark.parametrize("merge_how", ["scaled", "norm"])
def test_error_bound(backend: Backend, tau: float, kind: str, patch: int, merge_how: str) -> None:
    check_values(replace(LAYER, tau=tau, kind=kind, patch=patch, merge_how=merge_how), backend)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("patch", PATCHES)
def test_activations(backend: Backend, activation: str, residual: bool, patch: int) -> None:
    check_values(replace(LAYER, activation=activation, residual=residual, patch=patch), backend)


@pytest.mark.parametrize("x_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("z_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
@pytest.mark.parametrize("patch", PATCHES)
def test_layouts(backend: Backend, x_layout: str, z_layout: str, y_layout: str, w_layout: str, patch: int) -> None:
    case = replace(LAYER, batch=2, residual=True, w_layout=w_layout, patch=patch)
    check_values(replace(case, x_layout=x_layout, z_layout=z_layout, y_layout=y_layout), backend)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("w_layout", ["OIHW", "packed"])
@pytest.mark.parametrize("w_type", ["float32", "float16"])
@pytest.mark.parametrize("patch", PATCHES)
def test_output_channels(backend: Backend, outputs: int, w_layout: str, w_type: str, patch: int) -> None:
    check_values(replace(LAYER, outputs=outputs, w_layout=w_layout, w_type=w_type, patch=patch, residual=True), backend)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 3)])
@pytest.mark.parametrize("patch", PATCHES)
def test_input_channels(backend: Backend, channels: int, kernel: tuple[int, int], patch: int) -> None:
    check_values(replace(LAYER, channels=channels, kernel=kernel, patch=patch, kind="relu"), backend)


@pytest.mark.parametrize("patch", range(1, 10))
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (7, 7), (1, 3), (3, 1), (2, 2)])
def test_patches_and_kernels(backend: Backend, patch: int, kernel: tuple[int, int]) -> None:
    check_values(replace(LAYER, channels=16, patch=patch, kernel=kernel, pads=(2, 0, 1, 3)), backend)


@pytest.mark.parametrize(("patch", "rows"), [(patch, rows) for patch in PATCHES for rows in range(1, 2 * patch + 1)])
@pytest.mark.parametrize("layout", ["NCHW", "blocked"])
def test_every_way_that_a_patch_ends(backend: Backend, patch: int, rows: int, layout: str) -> None:
    """Maps of up to two patches a side, so the last is cut behind each row and column of each of its tiles."""
    case = replace(LAYER, patch=patch, height=rows, x_layout=layout, z_layout=layout, y_layout=layout, residual=True)
    if layout == "NCHW":
        case = replace(case, batch=2, channels=17, outputs=20)
    for columns in range(1 + rows % min(backend.samples, 2 * patch), 2 * patch + 1, backend.samples):
        check_values(replace(case, width=columns, seed=columns), backend)


@pytest.mark.parametrize("patch", PATCHES)
def test_pads_wider_than_the_image(backend: Backend, patch: int) -> None:
    """Whole patches that see nothing but zeros: every channel is zero, and only the bias is left."""
    check_values(replace(LAYER, height=2, width=3, pads=(9, 8, 10, 7), groups=4, patch=patch), backend)


@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("patch", PATCHES)
def test_buckets_that_cancel(backend: Backend, merge_how: str, patch: int) -> None:
    """u = 0: the bucket is skipped, with or without its filters."""
    problem = build(replace(LAYER, kind="integers", groups=1, merge_how=merge_how, channels=16, patch=patch))
    assert problem.labels is not None
    x = np.concatenate([problem.x[:, :8], -problem.x[:, :8]], axis=1)
    for variant in backend.variants:
        with backend.conv_of(problem, variant) as conv:
            output = conv.run(x, labels=problem.labels)
        assert (output.y == problem.bias[:, None, None]).all(), variant


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_tau_that_bounds_nothing(backend: Backend, tau: float) -> None:
    problem = build(replace(LAYER, kind="relu"))
    with backend.conv_of(problem) as conv:
        unbounded = conv.run(problem.x, labels=problem.labels)
        same = conv.run(problem.x, labels=problem.labels, tau=tau)
    assert (same.y == unbounded.y).all()


def test_mean_ignores_tau(backend: Backend) -> None:
    problem = build(replace(LAYER, kind="relu", merge_how="mean"))
    with backend.conv_of(problem) as conv:
        bounded, unbounded = (conv.run(problem.x, labels=problem.labels, tau=tau).y for tau in (0.1, 0.0))
    assert (bounded == unbounded).all()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("patch", PATCHES)
def test_unaligned_weights_are_copied(patch: int) -> None:
    """Packed weights that are not 64-byte aligned give the same bits as those used in place."""
    problem = build(replace(LAYER, w_layout="packed", patch=patch))
    assert_alignment_is_no_matter(problem, (0, 4, 16, 60))


def test_not_a_number_reaches_the_output(backend: Backend) -> None:
    """What a convolution would make NaN is NaN, and other patches do not change."""
    problem = build(replace(LAYER, pads=(0, 0, 0, 0), kernel=(1, 1)))
    x = problem.x.copy()
    x[0, 5, 0, 0] = np.nan
    with backend.conv_of(problem) as conv:
        clean, dirty = (conv.run(each, labels=problem.labels).y for each in (problem.x, x))
    assert np.isnan(dirty[:, :, 0, 0]).all()
    assert (dirty[:, :, 3:] == clean[:, :, 3:]).all()
    assert (dirty[:, :, :, 3:] == clean[:, :, :, 3:]).all()
