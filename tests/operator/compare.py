"""Comparing what a backend computed with the reference: codes bit for bit, values within computed tolerances."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from hypothesis import currently_in_test_context, event

from haste_export.reference import Float32, Float64, Labels, hash_codes
from tests.operator import native
from tests.operator.backends import Backend, Precision
from tests.operator.bounds import tau_is_trusted, tolerance
from tests.operator.cases import Case, Problem, build, reproduction

STATS = (
    *("patches", "channels", "buckets", "merged buckets"),
    *("skipped buckets", "zero channels", "members read", "members left"),
)


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


def assert_stats(got: Float64, expected: Float64) -> None:
    """Counts are equal or wrong."""
    wrong = [i for i in range(8) if got[i] != expected[i]]
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


def as_stored(problem: Problem, storage: str) -> Problem:
    """The problem that a backend with this storage type sees: hashing and sums are float32 on the stored values."""
    if storage == "float32":
        return problem

    def stored(values: Float32) -> Float32:
        return values.astype(storage).astype(np.float32)

    residual = None if problem.residual is None else stored(problem.residual)
    return replace(problem, x=stored(problem.x), weights=stored(problem.weights), residual=residual)


@dataclass(frozen=True)
class Expectation:
    """Output [N,M,H',W'] and statistics [8] of a case by the reference, and how far each output may be off.

    None is allowed where a decision of tau is within rounding: then the case proves nothing.
    """

    y: Float64
    stats: Float64
    allowed: Float64 | None


@lru_cache(maxsize=1024)
def expectation(case: Case, precision: Precision) -> Expectation:
    """Kept, because backends of one precision come to the same case one after the other."""
    problem = as_stored(build(case), precision.storage)
    result = problem.reference()
    if not tau_is_trusted(problem, result):
        return Expectation(result.y, result.stats, None)
    allowed = tolerance(problem, result, precision.product)
    # Without a bound (infinity) there is nothing to round, and 0 times infinity is no number.
    stored = precision.unit * (np.abs(result.y) + np.where(np.isfinite(allowed), allowed, 0.0))
    return Expectation(result.y, result.stats, allowed + stored + precision.tiny)


def check_values(case: Case, backend: Backend) -> None:
    """Every variant agrees with the reference within the computed tolerance, and exactly in the statistics."""
    with reproduction(check_values, case, backend):
        precision = backend.precision(case)
        expected = expectation(case, precision)
        if expected.allowed is None:
            note("mistrusted: a decision of tau is within rounding")
            return
        allowed = expected.allowed
        note(f"elements that prove something: {int(10 * np.isfinite(allowed).mean()) * 10 if allowed.size else 100} %")
        problem = as_stored(build(case), precision.storage)
        for variant in backend.variants:
            with backend.conv_of(problem, variant) as conv:
                output = conv.run(problem.x, case.count, tau=case.tau, residual=problem.residual, labels=problem.labels)
            with on(variant):
                assert_within(output.y.astype(np.float64), expected.y, allowed)
                if not case.groups or backend.counts_given_groups:
                    assert_stats(output.stats.astype(np.float64), expected.stats)


def check_codes(case: Case, backend: Backend) -> None:
    """Every variant gives the codes of the reference, every bit, in whatever way its tasks are run."""
    with reproduction(check_codes, case, backend):
        problem = as_stored(build(case), backend.precision(case).storage)
        expected = hash_codes(problem.windows(), problem.hyperplanes, case.count)
        for variant in backend.variants:
            with backend.conv_of(problem, variant) as conv:
                for way, codes in backend.codes(conv, problem):
                    with on(f"{variant} {way}"):
                        assert (codes == expected).all(), first_difference(problem, codes, expected)


def first_difference(problem: Problem, codes: Labels, expected: Labels) -> str:
    """Where two arrays of codes differ first, and what the channel's window holds."""
    image, patch, channel = (int(index[0]) for index in np.nonzero(codes != expected))
    got, want = codes[image, patch, channel], expected[image, patch, channel]
    window = problem.windows()[image, patch, channel].tolist()
    return (
        f"{(codes != expected).sum()} of {codes.size} codes differ, first image {image} patch {patch} "
        f"channel {channel}: got {got:#x}, expected {want:#x}, window {window}"
    )


@contextmanager
def on(variant: str) -> Iterator[None]:
    """Say where an assertion failed."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{variant.strip()}: {error}") from None
