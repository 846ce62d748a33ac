"""Whole runs with the library's own hash: codes first, then values and statistics on the grouping they make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings

from haste_export.contract import MERGES
from tests.operator import native
from tests.operator.backends import Backend
from tests.operator.cases import ORDINARY, PATCHES, Case, build, value_cases
from tests.operator.compare import check_codes, check_values
from tests.operator.threads import examples


def check_run(case: Case, backend: Backend) -> None:
    """Codes bit for bit, then output and statistics of a run that computes them again."""
    check_codes(case, backend)
    check_values(case, backend)


def hashed(case: Case) -> Case:
    return replace(case, groups=0, count=1 + case.seed % 32, kind=case.kind if case.kind in ORDINARY else "relu")


@settings(max_examples=examples(150))
@given(case=value_cases())
@example(case=Case(channels=64, outputs=64, height=13, width=13, count=14, kind="relu", tau=0.3, seed=1))
def test_run(backend: Backend, case: Case) -> None:
    check_run(hashed(case), backend)


@pytest.mark.parametrize("merge_how", MERGES)
@pytest.mark.parametrize("kind", ORDINARY)
@pytest.mark.parametrize("tau", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("count", [1, 4, 14])
def test_statistics(backend: Backend, merge_how: str, kind: str, tau: float, count: int) -> None:
    case = Case(2, 48, 16, 9, 10, count=count, kind=kind, merge_how=merge_how, tau=tau, seed=count)
    check_run(case, backend)


@pytest.mark.parametrize("patch", PATCHES)
def test_statistics_of_zeros(backend: Backend, patch: int) -> None:
    """Everything zero: one bucket per patch, skipped; the output is the bias. There are blocks to prefetch."""
    problem = build(Case(channels=20, outputs=40, height=22, width=30, kind="zeros", patch=patch))
    patches = problem.case.patches
    for variant in backend.variants:
        with backend.conv_of(problem, variant) as conv:
            output = conv.run(problem.x, problem.case.count)
        assert output.stats.tolist() == [patches, 20 * patches, patches, patches, patches, 20 * patches, 0, 0], variant
        assert (output.y == problem.bias[:, None, None]).all(), variant


def test_statistics_are_optional_and_summed_over_the_batch(backend: Backend) -> None:
    problem = build(Case(batch=3, channels=32, kind="relu"))
    with backend.conv_of(problem) as conv:
        together = conv.run(problem.x, problem.case.count)
        alone = [conv.run(image[None], problem.case.count) for image in problem.x]
        without = conv.run(problem.x, problem.case.count, want_stats=False)
    assert (together.stats == sum(each.stats for each in alone)).all()
    assert (together.y == np.concatenate([each.y for each in alone])).all()
    assert (without.y == together.y).all()


@pytest.mark.usefixtures("library")
def test_runs_are_counted() -> None:
    problem = build(Case())
    with problem.native_conv() as conv:
        before = native.run_count()
        problem.native_run(conv)
        problem.native_run(conv)
    assert native.run_count() == before + 2


def test_more_hyperplanes_never_merge_more(backend: Backend) -> None:
    """A longer code only splits buckets."""
    problem = build(Case(channels=64, count=32, kind="relu"))
    with backend.conv_of(problem) as conv:
        buckets = [conv.run(problem.x, count).stats[2] for count in range(1, 33)]
    assert buckets == sorted(buckets)
