"""HasteConv in plain float32: every operation rounds, in the order that reads best. What accuracy is compared with.

A patch is merged and convolved as the library does it, by the same form, but without its blocks, its order of
additions or its fused multiply-adds. So the two have different errors of the same size.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from haste_export.reference import Float32, HasteResult, Merged, assemble, taps
from tests.operator.cases import Problem
from tests.operator.winograd import Form, forms

Fault = Callable[[int, Merged, Float32], Float32]
"""Something wrong, to see that it is found: the patch's number, its merge and its coefficients give other ones."""


def no_fault(_patch: int, _merged: Merged, coefficients: Float32) -> Float32:
    """The coefficients as they are."""
    return coefficients


def tiles(tiling: tuple[int, ...]) -> list[tuple[slice, slice, int]]:
    """For each tile along an axis: its outputs, the data that it reads, and its size."""
    starts = np.cumsum((0, *tiling)).tolist()
    return [(slice(at, at + n), slice(at, at + n + 2), n) for at, n in zip(starts, tiling, strict=False)]


def by_form(form: Form, filters: Float32, inputs: Float32, patch: int) -> Float32:
    """A Winograd form: filters [C~, M, 9], inputs [C~, (p+2)^2], result [M, p*p]."""
    buckets, outputs = filters.shape[:2]
    along_y, along_x = (tiles(tuple(axis.outputs for axis in axes)) for axes in (form.y, form.x))
    window = np.zeros((buckets, along_y[-1][1].stop, along_x[-1][1].stop), np.float32)
    window[:, : patch + 2, : patch + 2] = inputs.reshape(buckets, patch + 2, patch + 2)
    whole = np.zeros((outputs, along_y[-1][0].stop, along_x[-1][0].stop), np.float32)
    for (y, (rows, read_rows, _)), (x, (columns, read_columns, _)) in product(
        zip(form.y, along_y, strict=True), zip(form.x, along_x, strict=True)
    ):
        (a_y, g_y, b_y), (a_x, g_x, b_x) = (
            [matrix.astype(np.float32) for matrix in (axis.output, axis.kernel, axis.data)] for axis in (y, x)
        )
        g = g_y @ filters.reshape(buckets, outputs, 3, 3) @ g_x.T
        d = b_y @ window[:, read_rows, read_columns] @ b_x.T
        total = np.zeros((outputs, *d.shape[1:]), np.float32)
        for bucket in range(buckets):
            total += g[bucket] * d[bucket]
        whole[:, rows, columns] = a_y @ total @ a_x.T
    return whole[:, :patch, :patch].reshape(outputs, patch * patch)


def tap_by_tap(filters: Float32, inputs: Float32, kernel: tuple[int, int], patch: int) -> Float32:
    """The direct sum: filters [C~, M, k], inputs [C~, Q], result [M, p*p]."""
    unfolded = taps(inputs.astype(np.float64), kernel, patch).astype(np.float32)
    total = np.zeros((filters.shape[1], patch * patch), np.float32)
    for bucket, of_bucket in zip(filters, unfolded, strict=True):
        for tap, pixels in zip(bucket.T, of_bucket, strict=True):
            total += tap[:, None] * pixels
    return total


def result(problem: Problem, exact: HasteResult, fault: Fault = no_fault) -> Float32:
    """The convolution [N,M,H',W'] before bias, residual and activation; channels are grouped as they are in `exact`."""
    case = problem.case
    outputs, channels, k_h, k_w = problem.weights.shape
    by_channel = np.ascontiguousarray(problem.weights.transpose(1, 0, 2, 3)).reshape(channels, outputs, k_h * k_w)
    form = next(iter(forms(case.kernel, case.patch)), None)
    pixels = []
    for number, (x, merged) in enumerate(zip(_windows(problem), exact.merged, strict=True)):
        inputs, coefficients = merge(x, merged, case.merge_how)
        filters = merge_filters(fault(number, merged, coefficients), by_channel)
        pixels.append(
            by_form(form, filters, inputs, case.patch) if form else tap_by_tap(filters, inputs, case.kernel, case.patch)
        )
    shape = (case.batch, case.patches, outputs, case.patch**2)
    return assemble(np.array(pixels, np.float64).reshape(shape), case.geometry).astype(np.float32)


def _windows(problem: Problem) -> Float32:
    case = problem.case
    return problem.windows().reshape(-1, case.channels, int(np.prod(case.geometry.window)))


def merge(x: Float32, merged: Merged, how: str) -> tuple[Float32, Float32]:
    """Inputs [C~, Q] and coefficients [C~, C] of the buckets of one patch with windows x [C, Q]."""
    inputs, coefficients = merged.inputs.astype(np.float32), merged.coefficients.astype(np.float32)
    for bucket, averaging in enumerate(merged.averaging):
        averaged = np.flatnonzero(averaging)
        if averaged.size < 2:
            continue  # the window of one channel, as it is
        u = np.zeros(x.shape[1], np.float32)
        for i in averaged:
            u += x[i]
        inputs[bucket] = u = u / np.float32(averaged.size)
        energy = _dot(u, u)
        if how == "mean" or not energy:
            continue
        for i in np.flatnonzero(merged.members[bucket]):
            coefficients[bucket, i] = np.sqrt(_dot(x[i], x[i]) / energy) if how == "norm" else _dot(x[i], u) / energy
    return inputs, coefficients


def merge_filters(coefficients: Float32, by_channel: Float32) -> Float32:
    """Sums over the members: coefficients [C~, C] and filters [C, M, k] give [C~, M, k]."""
    merged = np.zeros((len(coefficients), *by_channel.shape[1:]), np.float32)
    for bucket, row in enumerate(coefficients):
        for i in np.flatnonzero(row):
            merged[bucket] += row[i] * by_channel[i]
    return merged


def _dot(a: Float32, b: Float32) -> np.float32:
    total: np.float32 = np.float32(0)
    for term in a * b:
        total += term
    return total
