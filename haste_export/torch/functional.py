"""HasteConv in PyTorch, all patches at once (docs/operator.md).

It uses the method's identity: HASTE with some grouping is the plain convolution of windows in which every channel is
replaced by what it was merged into. So the cost is that of a convolution over all windows, p + k − 1 wide for p
outputs, and every step after the hash has gradients.

Letters: N batch, C input and M output channels, P = N·n_h·n_w patches, Q = q_h·q_w, L hyperplanes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from haste_export.contract import MERGES

PARTIAL_SUMS = 16
_ELEMENTS_AT_ONCE = 1 << 24
"""Window elements in one piece of work: 64 MB, and a few times that in temporaries."""

Pads = tuple[int, int, int, int]
"""Top, left, bottom, right."""


def haste_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hyperplanes: Tensor,
    count: int,
    *,
    pads: Pads = (0, 0, 0, 0),
    patch: int = 3,
    merge: str = "scaled",
    tau: float = 0.0,
) -> Tensor:
    """The operator on x [N,C,H,W], weight [M,C,kH,kW], bias [M], hyperplanes int8 [Lmax,Q] with L = `count`.

    L of 0 or less is the plain convolution. `tau` bounds the error of the merges `scaled` and `norm`.
    Returns [N,M,H',W']. Raises ValueError for L above Lmax and for an unknown merge.
    """
    if merge not in MERGES:
        raise ValueError(f"merge {merge!r} is none of {', '.join(MERGES)}")
    if count > len(hyperplanes):
        raise ValueError(f"L = {count} hyperplanes asked for, but there are {len(hyperplanes)}")
    top, left, bottom, right = pads
    if count <= 0:
        return functional.conv2d(functional.pad(x, (left, right, top, bottom)), weight, bias)
    cut, grid, out = windows(x, weight.shape[2:], pads, patch)
    pixels = []
    patches_at_once = max(_ELEMENTS_AT_ONCE // max(cut.shape[1:].numel(), 1), 1)
    for piece in torch.split(cut, patches_at_once):
        labels = group(hash_codes(piece.flatten(2), hyperplanes[:count]))
        merged = merge_windows(piece.flatten(2), labels, merge, tau)
        pixels.append(functional.conv2d(merged.reshape(piece.shape), weight, bias))
    whole = torch.cat(pixels) if pixels else x.new_zeros((0, weight.shape[0], patch, patch))
    return assemble(whole, x.shape[0], grid, out)


def windows(x: Tensor, kernel: torch.Size, pads: Pads, patch: int) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
    """Windows [P, C, q_h, q_w] of all patches, the grid (n_h, n_w) of an image's patches, and the output size (H', W').

    The image is extended by zeros at the bottom and right until p divides the output.
    """
    height, width = x.shape[2:]
    top, left, bottom, right = pads
    out_h, out_w = height + top + bottom - kernel[0] + 1, width + left + right - kernel[1] + 1
    n_h, n_w = -(-out_h // patch), -(-out_w // patch)
    q_h, q_w = patch + kernel[0] - 1, patch + kernel[1] - 1
    below, beside = n_h * patch + kernel[0] - 1 - height - top, n_w * patch + kernel[1] - 1 - width - left
    cut = functional.pad(x, (left, beside, top, below)).unfold(2, q_h, patch).unfold(3, q_w, patch)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(0, 2), (n_h, n_w), (out_h, out_w)


@torch.no_grad()
def hash_codes(cut: Tensor, hyperplanes: Tensor) -> Tensor:
    """Codes int64 [P, C] of windows [P, C, Q], bit for bit those of the operator.

    Every element is added in the operator's order, and none is multiplied into a sum by a fused instruction.
    """
    planes = hyperplanes.to(cut.dtype)
    projections = cut.new_zeros((*cut.shape[:2], len(planes)))
    for q in range(cut.shape[2]):
        used = planes[:, q].nonzero()[:, 0]  # a zero adds nothing, not even 0 · infinity
        projections[:, :, used] += cut[:, :, q, None] * planes[used, q]
    above = projections > channel_mean(projections)[:, None]
    bits = torch.arange(len(planes), device=cut.device)
    return (above.long() << bits).sum(2)


def channel_mean(projections: Tensor) -> Tensor:
    """Mean [P, L] over the channels of [P, C, L]: sixteen partial sums, then a tree (8, 4, 2, 1), then one division."""
    channels = projections.shape[1]
    partial = projections.new_zeros((projections.shape[0], PARTIAL_SUMS, projections.shape[2]))
    for first in range(0, channels, PARTIAL_SUMS):
        block = projections[:, first : first + PARTIAL_SUMS]
        partial[:, : block.shape[1]] += block
    for half in (8, 4, 2, 1):
        partial = partial[:, :half] + partial[:, half : 2 * half]
    return partial[:, 0] / channels


def group(codes: Tensor) -> Tensor:
    """Bucket numbers int64 [P, C], 0 to C̃ − 1 in each patch, from codes [P, C]."""
    ordered, place = codes.sort(dim=1, stable=True)
    opens = torch.zeros_like(ordered)
    opens[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.empty_like(place).scatter_(1, place, opens.cumsum(1))


def merge_windows(cut: Tensor, labels: Tensor, merge: str, tau: float = 0.0) -> Tensor:
    """What every channel's window [P, C, Q] is replaced by: its bucket's mean u, or a_i·u.

    `scaled`: a_i = ⟨x_i,u⟩/⟨u,u⟩; `norm`: a_i = ‖x_i‖/‖u‖. With τ > 0 (not mean) a member of a bucket of several whose
    residual exceeds τ times the patch's mean energy keeps its own window, and so does the last member left that is
    not zero.
    """
    index = labels[:, :, None].expand_as(cut)
    sizes = torch.zeros_like(cut[:, :, 0]).scatter_add(1, labels, torch.ones_like(cut[:, :, 0]))
    own_size = sizes.gather(1, labels)
    u = torch.zeros_like(cut).scatter_add(1, index, cut).gather(1, index) / own_size[:, :, None]
    if merge == "mean":
        return u
    energy = (u * u).sum(2)
    own = cut * cut if merge == "norm" else cut * u
    ratio = own.sum(2) / torch.where(energy > 0, energy, 1)
    if merge == "norm":  # the slope of a root is infinite at zero
        ratio = torch.where(ratio > 0, torch.where(ratio > 0, ratio, 1).sqrt(), 0)
    a = torch.where(energy > 0, ratio, 0)
    scaled = torch.where(own_size[:, :, None] > 1, a[:, :, None] * u, cut)
    if not tau > 0:
        return scaled
    limit = tau * (cut * cut).sum((1, 2), keepdim=True)[:, :, 0] / cut.shape[1]
    leaves = (((cut - scaled) ** 2).sum(2) > limit) & (own_size > 1)
    stays_awake = ~leaves & cut.any(2)
    awake = torch.zeros_like(sizes).scatter_add(1, labels, stays_awake.to(cut.dtype)).gather(1, labels)
    last = stays_awake & (awake == 1) & (energy > 0)
    return torch.where((leaves | last)[:, :, None], cut, scaled)


def assemble(pixels: Tensor, batch: int, grid: tuple[int, int], out: tuple[int, int]) -> Tensor:
    """Output pixels [P, M, p, p] side by side: [N, M, H', W']."""
    outputs, patch = pixels.shape[1], pixels.shape[2]
    tiled = pixels.reshape(batch, *grid, outputs, patch, patch).permute(0, 3, 1, 4, 2, 5)
    whole = tiled.reshape(batch, outputs, grid[0] * patch, grid[1] * patch)
    return whole[:, :, : out[0], : out[1]].contiguous()
