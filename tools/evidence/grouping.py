"""Tables that need other groupings than the operator's: random groups of equal sizes, dense Gaussian hyperplanes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from haste_export.evaluate.dataset import load_dataset, top1
from haste_export.evaluate.metrics import QualityMeter
from haste_export.evaluate.models import load_whole
from haste_export.hyperplanes import draw_hyperplanes
from haste_export.torch.functional import assemble, group, hash_codes, merge_windows, windows
from tools.evidence.network import Network
from tools.evidence.tables import Row, Table

PATCH = 3
Grouping = Callable[[str, Tensor], Tensor]
"""From a layer's name and its windows [P, C, Q] to labels [P, C]."""


def ternary(count: int, sparsity: float, seed: int) -> Grouping:
    """The operator's own: sparse ternary hyperplanes."""

    def labels(name: str, cut: Tensor) -> Tensor:
        planes = draw_hyperplanes(name, count, cut.shape[2], sparsity=sparsity, seed=seed)
        return group(hash_codes(cut, torch.from_numpy(planes)))

    return labels


def shuffled(inner: Grouping, seed: int) -> Grouping:
    """Buckets of the same number and sizes in every patch, with members drawn at random."""
    generator = torch.Generator().manual_seed(seed)

    def labels(name: str, cut: Tensor) -> Tensor:
        given = inner(name, cut)
        order = torch.rand(given.shape, generator=generator).argsort(dim=1)
        return given.gather(1, order)

    return labels


def gaussian(count: int, seed: int) -> Grouping:
    """Dense hyperplanes with normal entries."""
    drawn: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(seed)

    def labels(name: str, cut: Tensor) -> Tensor:
        if name not in drawn:
            drawn[name] = torch.randn((cut.shape[2], count), generator=generator)
        projections = cut @ drawn[name]
        above = projections > projections.mean(1, keepdim=True)
        return group((above.long() << torch.arange(count)).sum(2))

    return labels


class Measurement:
    """One model on one data set, in PyTorch."""

    def __init__(self, model: Path, data: str, limit: int) -> None:
        """Run stock."""
        proto = load_whole(model)
        self.model, self._network = model, Network(model)
        self._name = proto.graph.input[0].name
        self._dataset = load_dataset(data, proto, batch=50).take(limit)
        self._answers = [self._run(batch.feeds[self._name]).numpy() for batch in self._dataset.batches()]
        self._rates: list[float] = []

    def measure(self, grouping: Grouping, merge: str) -> Row:
        """Quality with this grouping in all eligible layers."""
        self._rates = []
        meter = QualityMeter(top1)
        for batch, exact in zip(self._dataset.batches(), self._answers, strict=True):
            outputs = self._run(batch.feeds[self._name], grouping, merge)
            meter.add([exact], [outputs.numpy()], batch.labels)
        quality = meter.result()
        rate = sum(self._rates) / len(self._rates)
        return {
            "top-1 loss (points)": quality.drop * 100,
            "agreement (%)": quality.agreement * 100,
            "error": quality.error,
            "r": rate,
        }

    def facts(self, seeds: list[int]) -> dict[str, str]:
        """What a reader must know about a table."""
        samples = sum(len(batch) for batch in self._dataset.batches())
        return {
            "model": self.model.name,
            "data": f"{self._dataset.name}, {samples} samples",
            "seeds": ", ".join(map(str, seeds)) + "; mean ± standard deviation",
            "engine": "PyTorch",
        }

    def _run(self, x: object, grouping: Grouping | None = None, merge: str = "mean") -> Tensor:
        def replacement(name: str, x: Tensor, weight: Tensor, bias: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
            assert grouping is not None
            cut, grid, out = windows(x, weight.shape[2:], pads, PATCH)
            labels = grouping(name, cut.flatten(2))
            self._rates.append(1 - float((labels.max(1).values + 1).float().mean()) / labels.shape[1])
            merged = merge_windows(cut.flatten(2), labels, merge).reshape(cut.shape)
            return assemble(functional.conv2d(merged, weight, bias), x.shape[0], grid, out)

        return self._network.run(torch.as_tensor(x), replacement if grouping is not None else None)


def grouping_table(measured: Measurement, counts: list[int], seeds: list[int]) -> Table:
    """The paper's Table 6: hashing against random groups of equal sizes, both merges."""
    table = Table(f"grouping-{measured.model.stem}", "LSH against random groups of equal sizes", measured.facts(seeds))
    for merge in ("mean", "scaled"):
        for count in counts:
            for seed in seeds:
                hashed = ternary(count, 2 / 3, seed)
                table.add(f"{merge}, L = {count}, LSH", measured.measure(hashed, merge))
                table.add(f"{merge}, L = {count}, random", measured.measure(shuffled(hashed, seed), merge))
    return table


def gaussian_table(measured: Measurement, counts: list[int], seeds: list[int]) -> Table:
    """The paper's Table 8: dense Gaussian hyperplanes against sparse ternary ones."""
    table = Table(
        f"gaussian-{measured.model.stem}", "Dense Gaussian against ternary hyperplanes", measured.facts(seeds)
    )
    for count in counts:
        for seed in seeds:
            table.add(f"L = {count}, Gaussian", measured.measure(gaussian(count, seed), "mean"))
            for sparsity in (0.5, 2 / 3):
                table.add(f"L = {count}, s = {sparsity:.2f}", measured.measure(ternary(count, sparsity, seed), "mean"))
    return table
