"""Tables that need other groupings than the operator's: random groups of equal sizes, dense Gaussian hyperplanes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tools.evidence.emulation import Emulation, Grouping, Variant, by_planes, hashed
from tools.evidence.merging import MERGINGS
from tools.evidence.tables import Table

SPARSITY = 2 / 3


def shuffled(inner: Grouping, seed: int) -> Grouping:
    """Buckets of the same number and sizes in every patch, with members drawn at random."""
    generator = torch.Generator().manual_seed(seed)

    def labels(name: str, cut: Tensor) -> Tensor:
        given = inner(name, cut)
        order = torch.rand(given.shape, generator=generator).argsort(dim=1)
        return given.gather(1, order)

    return labels


def gaussian(emulation: Emulation, count: int, seed: int) -> Variant:
    """Dense hyperplanes with normal entries, whose hashing costs a multiplication for every addition."""
    generator = torch.Generator().manual_seed(seed)
    planes = {
        name: torch.randn(drawn.shape, generator=generator) for name, drawn in emulation.planes(count, 0, 0).items()
    }
    return Variant(f"Gaussian, L = {count}", by_planes(planes), 2 * count, 0.0, MERGINGS["mean"])


def grouping_table(emulation: Emulation, counts: Sequence[int], seeds: Sequence[int]) -> Table:
    """The paper's Table 6: hashing against random groups of equal sizes, both merges."""
    name = f"grouping-{emulation.model.stem}"
    table = Table(name, "LSH against random groups of equal sizes", emulation.facts(seeds))
    for merge in ("mean", "scaled"):
        for count in counts:
            for seed in seeds:
                ours = hashed(emulation, count, SPARSITY, seed, merge)
                random = Variant(f"{ours.key}, random", shuffled(ours.grouping, seed), count, SPARSITY, MERGINGS[merge])
                table.add(f"{merge}, L = {count}, LSH", emulation.measure(ours, seed))
                table.add(f"{merge}, L = {count}, random", emulation.measure(random, seed))
    return table


def gaussian_table(emulation: Emulation, counts: Sequence[int], seeds: Sequence[int]) -> Table:
    """The paper's Table 8: dense Gaussian hyperplanes against sparse ternary ones."""
    name = f"gaussian-{emulation.model.stem}"
    table = Table(name, "Dense Gaussian against ternary hyperplanes", emulation.facts(seeds))
    for count in counts:
        for seed in seeds:
            table.add(f"L = {count}, Gaussian", emulation.measure(gaussian(emulation, count, seed), seed))
            for sparsity in (0.5, SPARSITY):
                ours = hashed(emulation, count, sparsity, seed, "mean")
                table.add(f"L = {count}, s = {sparsity:.2f}", emulation.measure(ours, seed))
    return table
