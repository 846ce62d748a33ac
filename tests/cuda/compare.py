"""Comparing the CUDA kernels with the reference: codes bit for bit, values within the tolerance of the CPU's tests."""

from __future__ import annotations

import numpy as np

from haste_export.reference import Float32, hash_codes
from tests.cuda.device import Conv, Target
from tests.operator.bounds import tau_is_trusted, tolerance
from tests.operator.c_api import Output
from tests.operator.cases import ORDINARY, Case, Problem, build, reproduction
from tests.operator.compare import MEMBERS_READ, assert_stats, assert_within

HALF_UNIT = 2.0**-11
"""Unit roundoff of float16."""
HALF_TINY = 2.0**-24
SPLIT_ERROR = 2.0**-21
"""Of a product of factors split into two TF32 numbers: 2^-23 for each factor, 2^-22 for the product left out."""
CUT_ERROR = 2.25 * 2.0**-23
"""Of four products and the sum before them on tensor cores: all five are cut to two bits more than a float32 has, and
the result to those (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores, 2021)."""


def product_error(target: Target, case: Case) -> float:
    """What a product of the convolution may be off by, of itself, because tensor cores may have taken it.

    Two blocks of four products are summed for every tap of three in a row, or of one. The sums of all others that go
    before, of low parts, are 2^-11 of those.
    """
    if target.module is None and not target.limits[-1]:
        return 0.0
    return SPLIT_ERROR + 2 * (3 if case.kernel[1] == 3 else 1) * CUT_ERROR


def conv_of(target: Target, problem: Problem, dtype: str = "float32") -> Conv:
    """The conv of a problem."""
    return Conv(target, problem.weights, problem.bias, problem.hyperplanes, problem.case.options, dtype=dtype)


def run_of(conv: Conv, problem: Problem) -> Output:
    """A problem's run."""
    case = problem.case
    return conv.run(problem.x, case.count, tau=case.tau, residual=problem.residual, labels=problem.labels)


def stored(values: Float32) -> Float32:
    """What float16 storage keeps of float32 values."""
    return values.astype(np.float16).astype(np.float32)


def as_stored(problem: Problem, dtype: str) -> Problem:
    """The problem that a conv of this storage type sees: hashing and sums are float32 on the stored values."""
    if dtype == "float32":
        return problem
    residual = None if problem.residual is None else stored(problem.residual)
    return Problem(
        problem.case,
        stored(problem.x),
        stored(problem.weights),
        problem.bias,
        problem.hyperplanes,
        residual,
        problem.labels,
    )


def check_codes(target: Target, case: Case, dtype: str = "float32") -> None:
    """Codes are those of the reference, every bit."""
    with reproduction(check_codes_here, case):
        problem = as_stored(build(case), dtype)
        expected = hash_codes(problem.windows(), problem.hyperplanes, case.count)
        with conv_of(target, problem, dtype) as conv:
            codes = conv.codes(problem.x, case.count, case.patches)
        assert (codes == expected).all(), f"{(codes != expected).sum()} of {codes.size} codes differ"


def check_values(target: Target, case: Case, dtype: str = "float32") -> None:
    """Values are within the computed tolerance, and statistics are equal."""
    with reproduction(check_values_here, case):
        problem = as_stored(build(case), dtype)
        expected = problem.reference()
        if not tau_is_trusted(problem, expected):
            return
        allowed = tolerance(problem, expected, product_error(target, case))
        if dtype == "float16":  # one more rounding, of the result
            allowed = allowed + HALF_UNIT * (np.abs(expected.y) + allowed) + HALF_TINY
        with conv_of(target, problem, dtype) as conv:
            output = run_of(conv, problem)
        assert_within(output.y.astype(np.float64), expected.y, allowed)
        skip = () if case.kind in ORDINARY else (MEMBERS_READ,)
        assert_stats(output.stats.astype(np.float64), expected.stats, skip)


def check_codes_here(case: Case) -> None:
    """check_codes on the best target of this machine, for the line that reproduces a failure."""
    check_codes(_any_target(), case)


def check_values_here(case: Case) -> None:
    """check_values on the best target of this machine, for the line that reproduces a failure."""
    check_values(_any_target(), case)


def _any_target() -> Target:
    from tests.cuda.device import gpu_target, host_target

    for found in (gpu_target(), host_target()):
        if isinstance(found, Target):
            return found
    raise AssertionError("no library with the CUDA kernels is built")
