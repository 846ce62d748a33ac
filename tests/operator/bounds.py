"""How far a float32 implementation may be from the float64 reference: computed, element by element, never guessed.

Standard model of rounding: every operation returns its exact result times (1 + d), |d| <= u = 2^-24, and a sum
or dot product of n terms, in whatever order, is within gamma_n = n u / (1 - n u) times the sum of its terms'
magnitudes (Higham, Accuracy and Stability of Numerical Algorithms). Fused multiply-adds only round less often.

A HasteConv rounds in four places, and the bound follows the errors of each through the next:

1. the mean u of a bucket's windows (n members: n - 1 additions and a scaling that may itself be a rounded reciprocal);
2. the coefficient a = <x,u> / <u,u>, or a = |x| / |u|, which inherits the error of u; where cancellation makes
   <u,u> as small as its own error the bound is infinite and the element proves nothing;
3. the merged filters, sums over the members;
4. the convolution over buckets and taps, the bias, the residual, the activation.

Of 3x3 kernels the last step may be a Winograd convolution, which rounds relative to larger magnitudes
(tests/operator/winograd.py derives them from the matrices), and more often for its transforms, but sums fewer terms:

* p = 3: F(3,3) along y, 3 terms per bucket, relative to |A^T| [(|G| |g|) * (|B^T| |d|)], up to 8.1 times |g| * |d|
  where all are ones;
* p = 5, 6: F(3,3) along both axes for each tile of 3x3 outputs, one term per bucket and the roundings of the transforms
  twice, relative to |A^T| [(|G| |g| |G^T|) * (|B^T| |d| |B|)] |A|, up to 65.8 times. d is the tile's 5x5 piece of the
  window, with zeros beyond the window of p = 5;
* p = 4, 7: the same with F(4,3), in one tile of 4x4 outputs, and in tiles of 4 and 3 along each axis: up to 256 times.

The direct sum (9 terms per bucket, relative to |g| * |d|) stays allowed, so each output has the larger of both bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from haste_export.reference import Float64, HasteResult, Merged, assemble, coefficients, group, taps
from tests.operator.cases import ACTIVATIONS, Problem
from tests.operator.winograd import forms

UNIT = 2.0**-24
"""Unit roundoff of float32."""
TINY = 2.0**-149
"""Smallest float32: what an operation may lose to underflow."""
EXP_ULPS = 8
"""Rounding errors granted to a float32 exponential; the C library's is below 2, a short polynomial below 8."""


def gamma(n: float) -> float:
    """Relative error of n roundings."""
    return n * UNIT / (1 - n * UNIT)


@dataclass(frozen=True)
class MergeError:
    """Bounds for one patch: of the bucket inputs [C~, Q] and of the coefficients [C~, C]."""

    inputs: Float64
    coefficients: Float64


def merge_error(x: Float64, merged: Merged, how: str) -> MergeError:
    """Bound the error of steps 1 and 2 for the windows x [C, Q] of one patch."""
    shared = (merged.averaging > 0).sum(axis=1)  # channels that were averaged; of one, the window is taken as it is
    inputs = np.where(shared > 1, [gamma(n + 1) for n in shared], 0.0)[:, None] * (merged.averaging @ np.abs(x))
    errors = np.zeros_like(merged.coefficients)
    if how != "mean":
        for bucket in np.flatnonzero(shared > 1):
            members = np.flatnonzero(merged.members[bucket])
            a = merged.coefficients[bucket, members]
            errors[bucket, members] = coefficient_error(x[members], merged.inputs[bucket], inputs[bucket], a, how)
    return MergeError(inputs, errors)


def coefficient_error(x: Float64, u: Float64, u_error: Float64, a: Float64, how: str = "scaled") -> Float64:
    """Bound the error of a_i of windows x [n, Q]; infinite where <u,u> may be all error.

    For a_i = <x_i,u> / <u,u> it is the error of a quotient. a_i = |x_i| / |u| is the root of one whose numerator has
    the relative error g = gamma(Q), for x is exact, and whose denominator has b. So a is off by a factor between
    sqrt((1 - g) / (1 + b)) and sqrt((1 + g) / (1 - b)), and F = 1 / sqrt((1 - g) (1 - b)) is at least the latter
    and 1 / F at most the former. Two roots, a reciprocal and a product are four roundings more.
    """
    length = x.shape[1]
    u_size = np.abs(u) + u_error
    top = np.abs(x) @ u_error + gamma(length) * (np.abs(x) @ u_size)
    bottom = 2 * np.abs(u) @ u_error + u_error @ u_error + gamma(length) * (u_size @ u_size)
    energy = u @ u
    if energy == 0 and bottom == 0:
        return np.zeros(len(x))
    if energy <= bottom:
        return np.full(len(x), np.inf)
    if how == "norm":
        own = a * (1 / np.sqrt((1 - gamma(length)) * (1 - bottom / energy)) - 1)
        return own + gamma(4) * (a + own)
    inherited = (top + np.abs(a) * bottom) / (energy - bottom)
    return inherited + gamma(2) * (np.abs(a) + inherited)


def tolerance(problem: Problem, result: HasteResult, product_error: float = 0.0) -> Float64:
    """Elementwise bound [N,M,H',W'] of |float32 implementation - reference|; infinite where the case proves nothing.

    `product_error`: what each product of the convolution may be off by, of itself, where it is not one of float32.
    """
    case, geometry = problem.case, problem.case.geometry
    patches = problem.windows().astype(np.float64).reshape(-1, case.channels, int(np.prod(geometry.window)))
    how = case.merge_how
    pixels = [
        _patch_error(x, merged, problem, how, product_error) for x, merged in zip(patches, result.merged, strict=True)
    ]
    shape = (case.batch, case.patches, case.outputs, case.patch**2)
    error = assemble(np.array(pixels, np.float64).reshape(shape), geometry)
    addends = np.abs(problem.bias.astype(np.float64))[:, None, None]
    if problem.residual is not None:
        addends = addends + np.abs(problem.residual)
    error = error + gamma(3) * (np.abs(result.before_activation) + error + addends)
    return _through_activation(error, result, case.activation)


def _patch_error(x: Float64, merged: Merged, problem: Problem, how: str, product_error: float) -> Float64:
    """Bound the error of a patch's output pixels [M, p*p], before bias, residual and activation."""
    case = problem.case
    outputs, channels, k_h, k_w = problem.weights.shape
    from_merge = merge_error(x, merged, how)
    if not np.isfinite(from_merge.coefficients).all():
        return np.full((outputs, case.patch**2), np.inf)
    by_channel = problem.weights.astype(np.float64).transpose(1, 0, 2, 3).reshape(channels, -1)
    shape = (-1, outputs, k_h * k_w)
    filters = np.abs(merged.coefficients @ by_channel).reshape(shape)
    filter_error = (from_merge.coefficients @ np.abs(by_channel)).reshape(shape)
    sizes = ((np.abs(merged.coefficients) + from_merge.coefficients) @ np.abs(by_channel)).reshape(shape)
    inputs = np.abs(merged.inputs)
    unfolded, unfolded_error = (taps(each, case.kernel, case.patch) for each in (inputs, from_merge.inputs))
    inherited = _sum_products(filters, unfolded_error) + _sum_products(filter_error, unfolded + unfolded_error)
    direct = _sum_products(sizes, unfolded + unfolded_error)
    buckets, members = len(filters), int(merged.members.sum(axis=1).max(initial=1))
    before = members + 1  # of a merged filter
    roundings = before + buckets * k_h * k_w
    rounding = gamma(roundings) * direct
    for form in forms(case.kernel, case.patch):
        magnitude = form.magnitude(sizes, inputs + from_merge.inputs, case.patch)
        rounding = np.maximum(rounding, gamma(before + form.roundings(buckets)) * magnitude)
        roundings = max(roundings, before + form.roundings(buckets))
    error: Float64 = inherited + rounding + product_error * direct + roundings * TINY
    return error


def _sum_products(filters: Float64, unfolded: Float64) -> Float64:
    """Sum over buckets and taps: [C~, M, k] and [C~, k, p*p] to [M, p*p]."""
    total: Float64 = np.tensordot(filters, unfolded, axes=([0, 2], [0, 1]))
    return total


def _through_activation(error: Float64, result: HasteResult, activation: str) -> Float64:
    """Carry an error through an activation: its largest slope, and its own roundings on top."""
    params = ACTIVATIONS[activation]
    value = np.abs(result.y)
    slope = {"LeakyRelu": max(1.0, *np.abs(params)) if params else 1.0, "HardSwish": 1.5, "Silu": 1.1, "Sigmoid": 0.25}
    own = {
        "LeakyRelu": 1,
        "HardSwish": 4,
        "Sigmoid": EXP_ULPS + 2,
        "Silu": EXP_ULPS + 3,
    }
    carried = error * slope.get(activation, 1.0)
    # One rounding more than the activation's own: the store to float32.
    return carried + gamma(own.get(activation, 0) + 1) * (value + carried) + TINY


def tau_is_trusted(problem: Problem, result: HasteResult) -> bool:
    """Whether every decision that tau makes is clearer than the rounding of a float32 implementation."""
    case = problem.case
    if case.merge_how == "mean" or not case.tau > 0:
        return True
    patches = problem.windows().astype(np.float64).reshape(-1, case.channels, int(np.prod(case.geometry.window)))
    labels = result.codes.reshape(-1, case.channels)
    return all(
        _patch_is_trusted(x, group(codes), case.tau, case.merge_how) for x, codes in zip(patches, labels, strict=True)
    )


def _patch_is_trusted(x: Float64, buckets: np.ndarray[tuple[int], np.dtype[np.int64]], tau: float, how: str) -> bool:
    limit = float(np.float32(tau)) * (x * x).sum() / len(x)
    length = x.shape[1]
    for bucket in range(int(buckets.max(initial=-1)) + 1):
        members = x[buckets == bucket]
        if len(members) < 2:
            continue
        u = members.mean(axis=0)
        a = coefficients(members, u, how)
        u_error = gamma(len(members) + 1) * np.abs(members).mean(axis=0)
        a_error = coefficient_error(members, u, u_error, a, how)
        if not np.isfinite(a_error).all():
            return False
        energy = (members**2).sum(axis=1)
        residual = ((members - a[:, None] * u) ** 2).sum(axis=1)
        # As ||x||^2 - a <x,u>, for `norm` as twice that, or as a sum of squares of differences: all are within the sum
        # of these.
        times = 2 if how == "norm" else 1
        shift = a_error[:, None] * np.abs(u) + np.abs(a)[:, None] * u_error + gamma(3) * np.abs(members)
        product = np.abs(members @ u) * a_error + np.abs(a) * (np.abs(members) @ (u_error + gamma(length) * np.abs(u)))
        error = (2 * np.abs(members) * shift + shift**2).sum(axis=1) + times * (
            product + gamma(length + 3) * 2 * energy
        )
        error += gamma(length + len(x) + 3) * limit
        if not (np.abs(residual - limit) >= error).all():
            return False
    return True
