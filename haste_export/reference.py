"""HasteConv in NumPy, one function per step of docs/operator.md: the oracle for every backend.

The method is HASTE (Meiner, Mehnert, Condurache; arXiv 2309.17211 and 2606.30516); the merges `scaled`
and `norm` and the error bound tau are ours, see docs/method.md. Written for reading; vectorised only so far that a
layer of a real network takes seconds.

Two precisions, on purpose. The hash is float32 in the one order of additions that the operator prescribes, so
its codes are bit-identical on every backend. Everything after it is float64, so that next to a float32 kernel
its own rounding does not count.

Letters: N batch, C input channels, M output channels, H x W input, H' x W' output, kH x kW kernel, p patch size,
q_h x q_w = (p+kH-1) x (p+kW-1) window, Q = q_h*q_w its length, P = n_h*n_w patches of one image (row-major),
L hyperplanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haste_export.contract import BLOCK, MAX_HYPERPLANES, MERGES

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]
Weights = NDArray[np.float16] | NDArray[np.float32]
"""Filters; float16 ones stand for the float32 ones of their values."""
Labels = NDArray[np.uint32]
Pads = tuple[int, int, int, int]
"""Top, left, bottom, right: the order of Conv's attribute."""


@dataclass(frozen=True)
class Geometry:
    """Sizes that follow from an input H x W, a kernel, pads and a patch size.

    Raises ValueError, as a sentence, for a size below one or a kernel larger than the padded input.
    """

    height: int
    width: int
    kernel_h: int
    kernel_w: int
    pads: Pads = (0, 0, 0, 0)
    patch: int = 3

    def __post_init__(self) -> None:
        """Refuse what has no output."""
        sizes = (self.height, self.width, self.kernel_h, self.kernel_w, self.patch)
        if min(sizes) < 1 or min(self.pads) < 0:
            raise ValueError(f"sizes must be positive and pads not negative: {self}")
        if self.out_h < 1 or self.out_w < 1:
            raise ValueError(
                f"kernel {self.kernel_h}x{self.kernel_w} does not fit the {self.height}x{self.width} input "
                f"with pads {list(self.pads)}"
            )

    @property
    def out_h(self) -> int:
        """Output height H'."""
        return self.height + self.pads[0] + self.pads[2] - self.kernel_h + 1

    @property
    def out_w(self) -> int:
        """Output width W'."""
        return self.width + self.pads[1] + self.pads[3] - self.kernel_w + 1

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches, n_h and n_w."""
        return -(-self.out_h // self.patch), -(-self.out_w // self.patch)

    @property
    def window(self) -> tuple[int, int]:
        """Height q_h and width q_w of a patch's input window."""
        return self.patch + self.kernel_h - 1, self.patch + self.kernel_w - 1


def windows(x: Float32, geometry: Geometry) -> Float32:
    """Cut X [N,C,H,W] into the input windows of its patches: [N, P, C, Q], zeros outside the image.

    The image is extended by zeros at the bottom and right until p divides the output.
    """
    n_h, n_w = geometry.grid
    q_h, q_w = geometry.window
    p = geometry.patch
    top, left = geometry.pads[:2]
    batch, channels = x.shape[:2]
    padded = np.zeros((batch, channels, n_h * p + geometry.kernel_h - 1, n_w * p + geometry.kernel_w - 1), np.float32)
    # A large bottom or right pad only adds zeros, which `padded` holds already; it never cuts the image.
    padded[:, :, top : top + geometry.height, left : left + geometry.width] = x
    views = np.lib.stride_tricks.sliding_window_view(padded, (q_h, q_w), axis=(2, 3))[:, :, ::p, ::p]
    return np.ascontiguousarray(views.transpose(0, 2, 3, 1, 4, 5)).reshape(batch, n_h * n_w, channels, q_h * q_w)


def channel_mean(projections: Float32) -> Float32:
    """Mean over the last axis (channels) in float32, in the operator's order of additions.

    Sixteen partial sums (as many as a block has channels), partial j adding channels j, j+16, ... in ascending order; a
    pairwise tree over them (8, 4, 2, 1); one division by C.
    """
    channels = projections.shape[-1]
    partial = np.zeros((*projections.shape[:-1], BLOCK), np.float32)
    for first in range(0, channels, BLOCK):
        block = projections[..., first : first + BLOCK]
        partial[..., : block.shape[-1]] += block
    for half in (8, 4, 2, 1):
        partial = partial[..., :half] + partial[..., half : 2 * half]
    mean: Float32 = partial[..., 0] / np.float32(channels)
    return mean


def hash_codes(patches: Float32, hyperplanes: NDArray[np.int8], count: int) -> Labels:
    """Step 1: the code of every channel, from windows [..., C, Q] and hyperplanes V [Lmax, Q]: uint32 [..., C].

    Bit l is 1 iff v_l . x_i exceeds its mean over the channels. That is v_l . (x_i - mean) > 0 by linearity, without
    centring anything. A NaN on either side gives 0.
    """
    codes = np.zeros(patches.shape[:-1], np.uint32)
    with np.errstate(all="ignore"):  # infinities and NaN are legal input
        for bit, v in enumerate(hyperplanes[:count]):
            projection = np.zeros(patches.shape[:-1], np.float32)
            for q in np.flatnonzero(v):  # ascending, and a zero entry adds nothing, not even 0 * infinity
                projection += patches[..., q] if v[q] > 0 else -patches[..., q]
            above = projection > channel_mean(projection)[..., None]
            codes |= above.astype(np.uint32) << np.uint32(bit)
    return codes


def group(codes: Labels) -> NDArray[np.int64]:
    """Step 2: bucket number of every channel of one patch, from its codes [C]. Numbered by first appearance."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.empty_like(first)
    order[np.argsort(first)] = np.arange(first.size)
    buckets: NDArray[np.int64] = order[inverse.reshape(-1)]
    return buckets


@dataclass(frozen=True)
class Merged:
    """One patch after the merge: its C~ buckets by first appearance, then the channels that left their bucket.

    averaging: [C~, C]; row b averages the channels that make bucket b's input: inputs = averaging @ windows.
    inputs: [C~, Q], zero for a skipped bucket.
    coefficients: [C~, C], a_i at (bucket of i, i): merged filters = coefficients @ filters; zero for a skipped bucket.
    members: bool [C~, C], who is in which bucket, each channel once.
    skipped: bool [C~], the buckets that contribute nothing: u = 0, or all members left are zero.
    awake: bool [C], the channels whose window is not all zero.
    read: bool [C], the channels whose filters a merge reads: those, and for `mean` the others too.
    left: members that left their bucket, because of tau or because it, or they, could not be merged.
    """

    averaging: Float64
    inputs: Float64
    coefficients: Float64
    members: NDArray[np.bool_]
    skipped: NDArray[np.bool_]
    awake: NDArray[np.bool_]
    read: NDArray[np.bool_]
    left: int

    def stats(self) -> Float64:
        """Count the eight statistics of this patch (docs/operator.md, Statistics)."""
        count, channels = self.members.shape
        several = self.members.sum(axis=1) > 1
        read = (self.members[several & ~self.skipped] & self.read).sum()
        zeros = np.count_nonzero(~self.awake)
        numbers = [1, channels, count, several.sum(), self.skipped.sum(), zeros, read, self.left]
        return np.array(numbers, np.float64)


@dataclass(frozen=True)
class _Bucket:
    """A bucket whose members are final: who they are, the channels its input averages, the a_i of the members."""

    members: NDArray[np.int64]
    averaged: NDArray[np.int64]
    coefficients: Float64
    skipped: bool


def coefficients(x: Float64, u: Float64, how: str = "scaled") -> Float64:
    """Return the a_i of a bucket with windows x [n, Q] and mean u [Q]; zeros if u is zero.

    `scaled`: <x_i,u> / <u,u>, which leaves the least of x_i. `norm`: |x_i| / |u|, which keeps its length.
    """
    energy = float(u @ u)
    if energy == 0:
        return np.zeros(len(x))
    a: Float64 = np.sqrt((x * x).sum(axis=1) / energy) if how == "norm" else x @ u / energy
    return a


def merge(windows_of_channels: Floats, buckets: NDArray[np.int64], how: str = "scaled", tau: float = 0.0) -> Merged:
    """Step 3: merge the windows [C, Q] of one patch, given every channel's bucket number [C].

    `mean` (the paper): bucket input u = mean of its channels, bucket filter = sum of their filters, every a_i = 1.
    `scaled`: a_i = <x_i,u> / <u,u>, which gives back the scale that the hash does not see.
    `norm`: a_i = |x_i| / |u|, which does that too and keeps the length of every window.
    Both with tau > 0: of a bucket of two or more, a member with ||x_i - a_i u||^2 > tau E leaves and stays
    alone, where E is the mean energy of the patch's channels. u is not recomputed. A bucket of which one member is not
    zero, or is left, takes that member's window as it is, unless it is skipped because u = 0.
    """
    x = np.asarray(windows_of_channels, np.float64)
    awake = np.asarray(x.any(axis=1))
    # A tau of NaN is none.
    limit = np.float32(tau * float((x * x).sum()) / len(x)) if tau > 0 else None
    whole: list[_Bucket] = []
    alone: list[int] = []
    for bucket in range(int(buckets.max(initial=-1)) + 1):
        members = np.flatnonzero(buckets == bucket)
        if how == "mean":
            skipped = not x[members].mean(axis=0).any()
            whole.append(_Bucket(members, members, np.ones(len(members)), skipped))
            continue
        merged, leaving = _weighted(x, members, awake, how, limit)
        whole += [merged] if len(merged.members) else []
        alone += leaving.tolist()
    whole += [_as_it_is(np.array([i]), np.array([i])) for i in sorted(alone)]
    return _merged(x, whole, awake, how, len(alone))


def _weighted(
    x: Float64, members: NDArray[np.int64], awake: NDArray[np.bool_], how: str, limit: np.float32 | None
) -> tuple[_Bucket, NDArray[np.int64]]:
    """Merge a bucket of the windows x [C, Q] by `scaled` or `norm`: what it becomes, and the members that leave it.

    Squares are compared as the nearest float32, for what that cannot hold decides too. `limit` is tau E; None is none.
    """
    some, nobody = members[awake[members]], members[:0]
    if not len(some):
        return _Bucket(members, members, np.zeros(len(members)), skipped=True), nobody
    if len(some) == 1:
        return _as_it_is(members, some), nobody
    square = _square(x[some].sum(axis=0))
    u = x[members].mean(axis=0)
    skipped = square == 0
    if not (skipped or _is_normal(square)):
        leaves = np.ones(len(some), bool)
        a = np.zeros(len(some))
    else:
        a = np.zeros(len(some)) if skipped else coefficients(x[some], u, how)
        leaves = ~_is_normal(_square(x[some])) if how == "norm" else np.zeros(len(some), bool)
        if limit is not None:
            leaves |= _square(x[some] - a[:, None] * u) > limit
    stay, leaving = some[~leaves], some[leaves]
    left = members[~np.isin(members, leaving)]
    if len(stay) == 1 and not skipped:
        return _as_it_is(left, stay), leaving
    weights = np.zeros(len(left))
    weights[np.isin(left, stay)] = a[~leaves]
    return _Bucket(left, members, weights, skipped or not len(stay)), leaving


def _as_it_is(members: NDArray[np.int64], one: NDArray[np.int64]) -> _Bucket:
    """Make a bucket of one member that is not zero, with zeros beside it or none: a = 1, whatever its square."""
    return _Bucket(members, one, (members == one).astype(np.float64), skipped=False)


def _square(x: Float64) -> Float32:
    """<x,x> over the last axis, as float32 has it."""
    square: Float32 = np.asarray((x * x).sum(axis=-1)).astype(np.float32)
    return square


def _is_normal(square: Float32) -> NDArray[np.bool_]:
    """Whether it is a normal float32: neither 0 nor subnormal, infinity or NaN."""
    normal: NDArray[np.bool_] = np.isfinite(square) & (square >= np.finfo(np.float32).tiny)
    return normal


def _merged(x: Float64, buckets: Sequence[_Bucket], awake: NDArray[np.bool_], how: str, left: int) -> Merged:
    """Write the buckets of `merge` as matrices."""
    shape = (len(buckets), len(x))
    averaging, weights, is_member = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    inputs = np.zeros((len(buckets), x.shape[1]))
    for row, bucket in enumerate(buckets):
        averaging[row, bucket.averaged] = 1 / len(bucket.averaged)
        is_member[row, bucket.members] = True
        if not bucket.skipped:  # whatever its filters are, it contributes nothing
            weights[row, bucket.members] = bucket.coefficients
            inputs[row] = x[bucket.averaged].mean(axis=0)
    skipped = np.array([bucket.skipped for bucket in buckets], bool)
    read = awake | (how == "mean")
    return Merged(averaging, inputs, weights, is_member, skipped, awake, read, left)


def taps(inputs: Float64, kernel: tuple[int, int], patch: int) -> Float64:
    """Unfold windows [..., Q] to the input of every tap and output pixel: [..., kH*kW, p*p]."""
    k_h, k_w = kernel
    square = inputs.reshape(*inputs.shape[:-1], patch + k_h - 1, patch + k_w - 1)
    view = np.lib.stride_tricks.sliding_window_view(square, (patch, patch), axis=(-2, -1))
    unfolded: Float64 = view.reshape(*inputs.shape[:-1], k_h * k_w, patch * patch)
    return unfolded


def convolve(merged: Merged, filters: Weights, patch: int) -> Float64:
    """Step 4 for one patch: its merged inputs with the merged filters; filters [M,C,kH,kW] gives [M, p*p]."""
    outputs, channels, k_h, k_w = filters.shape
    by_channel = filters.astype(np.float64).transpose(1, 0, 2, 3).reshape(channels, -1)
    merged_filters = (merged.coefficients @ by_channel).reshape(-1, outputs, k_h * k_w)
    unfolded = taps(merged.inputs, (k_h, k_w), patch)
    pixels: Float64 = np.tensordot(merged_filters, unfolded, axes=([0, 2], [0, 1]))  # over buckets and taps
    return pixels


def assemble(pixels: Float64, geometry: Geometry) -> Float64:
    """Put the patches' output pixels [N, P, M, p*p] together to [N,M,H',W'], cutting what p made too much."""
    n_h, n_w = geometry.grid
    p = geometry.patch
    batch, _, outputs, _ = pixels.shape
    tiled = pixels.reshape(batch, n_h, n_w, outputs, p, p).transpose(0, 3, 1, 4, 2, 5)
    whole: Float64 = tiled.reshape(batch, outputs, n_h * p, n_w * p)
    cut: Float64 = whole[:, :, : geometry.out_h, : geometry.out_w]
    return cut


def activate(y: Float64, name: str, params: Sequence[float] = ()) -> Float64:
    """Apply an activation of HasteConv, elementwise. Raises ValueError for a name that the operator does not know."""
    with np.errstate(over="ignore"):
        if name == "":
            return y
        if name == "Relu":
            return np.where(y < 0, 0, y)
        if name == "LeakyRelu":
            return np.where(y < 0, params[0] * y, y)
        if name == "Clip":
            return np.minimum(np.maximum(y, params[0]), params[1])
        if name == "HardSwish":
            return y * np.minimum(np.maximum(y / 6 + 0.5, 0), 1)
        if name == "Silu":
            return y * activate(y, "Sigmoid")
        if name == "Sigmoid":
            sigmoid: Float64 = 1 / (1 + np.exp(-y))
            return sigmoid
    raise ValueError(f"activation {name!r} is not one of HasteConv's")


def pack(weights: Float32) -> Float32:
    """OIHW weights [M,C,kH,kW] in the packed layout [ceil(M/16), C, kH*kW, 16], zeros where m >= M."""
    outputs, channels, k_h, k_w = weights.shape
    blocks = -(-outputs // BLOCK)
    full = np.zeros((blocks * BLOCK, channels, k_h * k_w), np.float32)
    full[:outputs] = weights.reshape(outputs, channels, k_h * k_w)
    return np.ascontiguousarray(full.reshape(blocks, BLOCK, channels, k_h * k_w).transpose(0, 2, 3, 1))


@dataclass(frozen=True)
class HasteResult:
    """What one run gives.

    y: float64 [N,M,H',W'].
    stats: float64 [8].
    codes: uint32 [N, P, C], the hash codes or the labels given in their place; arange(C) when dense.
    merged: the patches' merges, image by image, patches row-major.
    before_activation: float64 [N,M,H',W'].
    """

    y: Float64
    stats: Float64
    codes: Labels
    merged: tuple[Merged, ...]
    before_activation: Float64


def haste_conv(
    x: Float32,
    weights: Weights,
    bias: Float32,
    hyperplanes: NDArray[np.int8],
    count: int,
    *,
    residual: Float32 | None = None,
    tau: float = 0.0,
    pads: Pads = (0, 0, 0, 0),
    patch: int = 3,
    merge_how: str = "scaled",
    activation: str = "",
    activation_params: Sequence[float] = (),
    labels: Labels | None = None,
    correction: Float32 | None = None,
) -> HasteResult:
    """Run HasteConv on X [N,C,H,W] with OIHW weights [M,C,kH,kW], bias [M], V [Lmax,Q] and L = `count`.

    L of 0 or less is dense: every channel is its own bucket, which is the plain convolution. `labels` [N, P, C]
    takes the place of the hash codes (equal label, same bucket). A residual of rank 0 means none, as in the
    operator. `correction` [2,M] holds a gain for the convolution and what takes the bias's place; dense mode ignores
    it. Raises ValueError, as a sentence, for shapes or values outside the contract.
    """
    geometry = Geometry(x.shape[2], x.shape[3], weights.shape[2], weights.shape[3], pads, patch)
    _check(x, weights, bias, hyperplanes, count, geometry, merge_how)
    patches = windows(x, geometry)
    dense = labels is None and count <= 0
    if labels is None:
        own = np.broadcast_to(np.arange(x.shape[1], dtype=np.uint32), patches.shape[:3])
        labels = own if dense else hash_codes(patches, hyperplanes, count)
    outputs = weights.shape[0]
    with np.errstate(all="ignore"):  # infinities and NaN pass through, as they do in a convolution
        merged = tuple(
            merge(patch_x, group(codes), merge_how, tau)
            for image_x, image_codes in zip(patches, labels, strict=True)
            for patch_x, codes in zip(image_x, image_codes, strict=True)
        )
        pixels = np.array([convolve(each, weights, patch) for each in merged], np.float64)
    sums = assemble(pixels.reshape(*patches.shape[:2], outputs, patch * patch), geometry)
    if correction is not None and not dense:
        sums, bias = sums * correction[0].astype(np.float64)[:, None, None], correction[1]
    sums = sums + bias.astype(np.float64)[:, None, None]
    if residual is not None and residual.ndim:
        sums = sums + residual
    stats = sum((each.stats() for each in merged), np.zeros(8))
    return HasteResult(activate(sums, activation, activation_params), stats, labels, merged, sums)


def _check(
    x: Float32,
    weights: Weights,
    bias: Float32,
    hyperplanes: NDArray[np.int8],
    count: int,
    geometry: Geometry,
    merge_how: str,
) -> None:
    """Raise ValueError for what the operator refuses."""
    q_h, q_w = geometry.window
    if x.shape[1] != weights.shape[1] or bias.shape != weights.shape[:1]:
        raise ValueError(f"X {x.shape}, W {weights.shape} and B {bias.shape} do not belong together")
    if hyperplanes.ndim != 2 or hyperplanes.shape[1] != q_h * q_w:
        raise ValueError(f"V {hyperplanes.shape} must have {q_h * q_w} columns, one per element of the window")
    if not 1 <= len(hyperplanes) <= MAX_HYPERPLANES or count > len(hyperplanes):
        raise ValueError(f"L = {count} needs as many rows of V; it has {len(hyperplanes)} of at most {MAX_HYPERPLANES}")
    if not np.isin(hyperplanes, (-1, 0, 1)).all():
        raise ValueError("V holds other values than -1, 0 and 1")
    if merge_how not in MERGES:
        raise ValueError(f"merge {merge_how!r} is none of {', '.join(MERGES)}")
