"""Ways to merge the channels of a bucket that the operator does not have, in PyTorch.

Each takes windows [P, C, Q], bucket numbers [P, C] and the layer's filters [M, C, kH, kW], and says what every
channel's window is replaced by. In all of them a channel's window becomes a_i·u, with one u per bucket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from haste_export.torch.functional import merge_windows


@dataclass(frozen=True)
class Merged:
    """What windows became.

    Attributes:
        windows: [P, C, Q].
        skipped: buckets that are not computed, in all patches together.
    """

    windows: Tensor
    skipped: int = 0


@dataclass(frozen=True)
class Merging:
    """A way to merge.

    Attributes:
        apply: from windows, buckets and filters to what windows become.
        formula: "mean" or "scaled", whose FLOPs it costs.
        extra: FLOPs per window element beyond these.
    """

    apply: Callable[[Tensor, Tensor, Tensor], Merged]
    formula: str = "scaled"
    extra: float = 0.0


def weighted_mean(cut: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The bucket's mean u [P, C, Q] with weights [P, C], given to each member; zero where the weights sum to zero."""
    index = labels[:, :, None].expand_as(cut)
    total = torch.zeros_like(weights).scatter_add(1, labels, weights).gather(1, labels)
    u = torch.zeros_like(cut).scatter_add(1, index, cut * weights[:, :, None]).gather(1, index)
    return torch.where(total > 0, 1 / total.clamp_min(1e-30), 0)[:, :, None] * u


def coefficients(cut: Tensor, u: Tensor) -> Tensor:
    """Least squares: a_i = ⟨x_i,u⟩ / ⟨u,u⟩, 0 where u = 0."""
    energy = (u * u).sum(2)
    return torch.where(energy > 0, (cut * u).sum(2) / energy.clamp_min(1e-30), 0)


def _towards(cut: Tensor, u: Tensor) -> Merged:
    return Merged(coefficients(cut, u)[:, :, None] * u)


def _ones(cut: Tensor) -> Tensor:
    return torch.ones_like(cut[:, :, 0])


def _filter_norms(weight: Tensor) -> Tensor:
    """Energy [1, C] of the filter slices that read each channel."""
    return (weight * weight).sum((0, 2, 3))[None]


def by_energy(cut: Tensor, labels: Tensor, _: Tensor) -> Merged:
    """U is the mean weighted by the members' norms: large ones matter more."""
    return _towards(cut, weighted_mean(cut, labels, cut.norm(dim=2)))


def power_step(cut: Tensor, labels: Tensor, _: Tensor) -> Merged:
    """One step of the power iteration towards the direction that leaves the least residual: u = Σ a_i·x_i."""
    first = weighted_mean(cut, labels, _ones(cut))
    return _towards(cut, weighted_mean(cut, labels, coefficients(cut, first).clamp_min(0)))


def by_filters(cut: Tensor, labels: Tensor, weight: Tensor) -> Merged:
    """U is the mean weighted by the energy of the filters that read the members."""
    return _towards(cut, weighted_mean(cut, labels, _filter_norms(weight).expand_as(labels)))


def power_step_by_filters(cut: Tensor, labels: Tensor, weight: Tensor) -> Merged:
    """The power step for the residual weighted by the energy of the filters."""
    first = weighted_mean(cut, labels, _ones(cut))
    weights = coefficients(cut, first).clamp_min(0) * _filter_norms(weight)
    return _towards(cut, weighted_mean(cut, labels, weights))


def keep_energy_of_mean(cut: Tensor, labels: Tensor, _: Tensor) -> Merged:
    """The paper's merge, with each bucket's mean scaled so that the members' energy is kept as a whole."""
    u = weighted_mean(cut, labels, _ones(cut))
    index = labels
    own = torch.zeros_like(u[:, :, 0]).scatter_add(1, index, (cut * cut).sum(2)).gather(1, index)
    merged = torch.zeros_like(own).scatter_add(1, index, (u * u).sum(2)).gather(1, index)
    return Merged(torch.where(merged > 0, (own / merged.clamp_min(1e-30)).sqrt(), 0)[:, :, None] * u)


def without_faint(share: float) -> Callable[[Tensor, Tensor, Tensor], Merged]:
    """Buckets that hold less than this share of the patch's mean energy per channel are not computed at all."""

    def merge(cut: Tensor, labels: Tensor, _: Tensor) -> Merged:
        u = weighted_mean(cut, labels, _ones(cut))
        merged = coefficients(cut, u)[:, :, None] * u
        energy = (cut * cut).sum(2)
        held = torch.zeros_like(energy).scatter_add(1, labels, energy)
        present = torch.zeros_like(energy).scatter_add(1, labels, _ones(cut)) > 0
        faint = held < share * energy.mean(1, keepdim=True)
        skipped = faint & present & (held > 0)  # those that are all zero, the operator skips anyway
        return Merged(torch.where(faint.gather(1, labels)[:, :, None], 0, merged), int(skipped.sum()))

    return merge


def _product(merge: str, tau: float = 0.0) -> Callable[[Tensor, Tensor, Tensor], Merged]:
    return lambda cut, labels, _: Merged(merge_windows(cut, labels, merge, tau))


MERGINGS = {
    "mean": Merging(_product("mean"), "mean"),
    "scaled": Merging(_product("scaled")),
    "u weighted by the members' norms": Merging(by_energy, extra=3),
    "u after a power step": Merging(power_step, extra=6),
    "u weighted by the filters' energy": Merging(by_filters, extra=1),
    "u after a power step, filters' energy": Merging(power_step_by_filters, extra=7),
    "a that keeps every member's norm": Merging(_product("norm")),
    "mean that keeps the bucket's energy": Merging(keep_energy_of_mean, "mean", extra=2),
    "faint buckets skipped, 0.01": Merging(without_faint(0.01), extra=2),
    "faint buckets skipped, 0.1": Merging(without_faint(0.1), extra=2),
}
