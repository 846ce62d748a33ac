"""Comparing what the library computed with the reference, within computed tolerances."""

from __future__ import annotations

import numpy as np
from hypothesis import currently_in_test_context, event

from haste_export.reference import Float64
from tests.operator import native
from tests.operator.bounds import tau_is_trusted, tolerance
from tests.operator.cases import ORDINARY, Case, Problem, build

STATS = (
    *("patches", "channels", "buckets", "merged buckets"),
    *("skipped buckets", "zero channels", "members read", "members left"),
)
MEMBERS_READ = 6


def assert_within(got: Float64, expected: Float64, allowed: Float64) -> float:
    """Fail when an element is farther off than allowed; returns the largest share of the tolerance that was used."""
    error = np.abs(got - expected)
    proves = np.isfinite(allowed)
    bad = proves & ~(error <= allowed)  # NaN is bad
    if bad.any():
        index = tuple(int(i[0]) for i in np.nonzero(bad))
        raise AssertionError(
            f"{bad.sum()} of {bad.size} elements are off, first at {index}: got {got[index]:.9g}, expected "
            f"{expected[index]:.9g}, error {error[index]:.3g}, allowed {allowed[index]:.3g}"
        )
    return float((error[proves] / allowed[proves]).max(initial=0.0))


def assert_stats(got: Float64, expected: Float64, skip: tuple[int, ...] = ()) -> None:
    """Counts are equal or wrong."""
    wrong = [i for i in range(8) if i not in skip and got[i] != expected[i]]
    assert not wrong, "statistics: " + ", ".join(f"{STATS[i]} {got[i]:g}, expected {expected[i]:g}" for i in wrong)


def assert_alignment_is_no_matter(problem: Problem, offsets: tuple[int, ...]) -> None:
    """Weights that lie so many bytes off a cache line, and are then copied, give the bits of those used in place."""
    outputs = []
    for offset in offsets:
        tensors = (problem.weights, problem.bias, problem.hyperplanes)
        with native.Conv(*tensors, problem.case.options, weights_offset=offset) as conv:
            outputs.append(problem.native_run(conv).y)
    assert all((y == outputs[0]).all() for y in outputs)


def note(what: str) -> None:
    """Count a case for hypothesis' statistics (--hypothesis-show-statistics)."""
    if currently_in_test_context():
        event(what)


def check_values(case: Case) -> None:
    """Every instruction set agrees with the reference within the computed tolerance, and exactly in the statistics."""
    problem = build(case)
    expected = problem.reference()
    if not tau_is_trusted(problem, expected):
        note("mistrusted: a decision of tau is within rounding")
        return
    allowed = tolerance(problem, expected)
    note(f"elements that prove something: {int(10 * np.isfinite(allowed).mean()) * 10 if allowed.size else 100} %")
    # Integers make <x_i,u> exactly zero here and there, which float32 may miss; then it reads one filter more.
    skip = () if case.kind in ORDINARY else (MEMBERS_READ,)
    hashed = not case.groups  # a given grouping has no statistics
    for isa in native.available_isas():
        with native.selected_isa(isa), problem.native_conv() as conv:
            output = problem.native_run(conv)
        try:
            assert_within(output.y.astype(np.float64), expected.y, allowed)
            if hashed:
                assert_stats(output.stats.astype(np.float64), expected.stats, skip)
        except AssertionError as error:
            raise AssertionError(f"{isa}: {error}") from None
