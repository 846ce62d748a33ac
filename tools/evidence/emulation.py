"""One model on one data set in PyTorch, for groupings and merges that the operator does not have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from haste_export.evaluate.dataset import Dataset, load_dataset, top1
from haste_export.evaluate.metrics import QualityMeter
from haste_export.evaluate.models import compressed_with, load_whole
from haste_export.evaluate.stats import model_layers
from haste_export.flops import Compression, LayerCost, layer_cost, model_cost, plain_layer
from haste_export.hyperplanes import draw_hyperplanes
from haste_export.options import Options
from haste_export.torch.functional import assemble, channel_mean, group, windows
from haste_export.tune.correct import Moments, correction
from tools.evidence.merging import MERGINGS, Merging
from tools.evidence.network import Network
from tools.evidence.settings import PATCH
from tools.evidence.store import Numbers, Store

BATCH = 50
Grouping = Callable[[str, Tensor], Tensor]
"""From a layer's name and its windows [P, C, Q] to bucket numbers [P, C]."""


def by_planes(planes: Mapping[str, Tensor]) -> Grouping:
    """By the signs of projections on a layer's hyperplanes [L, Q], of any kind of entries.

    Projections are matrix products here, so codes differ from the operator's where a sign hangs on the last digit.
    """

    def labels(name: str, cut: Tensor) -> Tensor:
        projections = cut @ planes[name].T
        above = projections > channel_mean(projections)[:, None]
        return group((above.long() << torch.arange(len(planes[name]))).sum(2))

    return labels


@dataclass(frozen=True)
class Variant:
    """What is tried.

    Attributes:
        key: names it in the store, together with the seed.
        grouping: how channels are grouped.
        count: L, for the cost of hashing.
        sparsity: share of zeros in the hyperplanes, for the same.
        merging: how the members of a bucket are merged.
        corrected: whether gain and bias are corrected per output channel.
    """

    key: str
    grouping: Grouping
    count: int
    sparsity: float
    merging: Merging
    corrected: bool = False


class Emulation:
    """Runs a network with its eligible convolutions replaced, and measures what that does."""

    def __init__(self, model: Path, data: str, limit: int, calibration: str | None = None, samples: int = 128) -> None:
        """Run stock; `samples` images of `calibration` are for corrections."""
        torch.set_num_threads(1)
        proto = load_whole(model)
        self.model, self._network = model, Network(model)
        self._input = proto.graph.input[0].name
        self._dataset = load_dataset(data, proto, batch=BATCH).take(limit)
        self._answers = [self._network.run(self._images(batch.feeds)).numpy() for batch in self._dataset.batches()]
        self._calibration = _whole(load_dataset(calibration, proto).take(samples)) if calibration is not None else None
        self._store = Store()
        self._key = _fingerprint(proto, self._dataset, limit)
        self._stock_moments: dict[str, Moments] = {}
        self._layers = _layers(proto, next(self._dataset.batches()).feeds)

    def planes(self, count: int, sparsity: float, seed: int) -> dict[str, Tensor]:
        """The product's hyperplanes, as floats."""
        return {
            name: torch.from_numpy(
                draw_hyperplanes(name, count, shape.window, sparsity=sparsity, seed=seed).astype(np.float32)
            )
            for name, (shape, eligible) in self._layers.items()
            if eligible
        }

    def measure(self, variant: Variant, seed: int) -> Numbers:
        """Quality and cost with this variant in all eligible layers."""
        key = {"emulation": variant.key, "seed": seed, "model": self._key, "corrected": variant.corrected}
        known = self._store.get(key)
        if known is None:
            known = self._measure(variant)
            self._store.put(key, known)
        return known

    def facts(self, seeds: Sequence[int]) -> dict[str, str]:
        """What a reader must know about a table."""
        samples = sum(len(batch) for batch in self._dataset.batches())
        return {
            "model": self.model.name,
            "data": f"{self._dataset.name}, {samples} samples",
            "seeds": ", ".join(map(str, seeds)) + "; mean ± standard deviation",
            "engine": "PyTorch",
        }

    def _measure(self, variant: Variant) -> Numbers:
        corrections = self._calibrate(variant) if variant.corrected else {}
        counts: dict[str, Tensor] = {}
        meter = QualityMeter(top1)
        for batch, exact in zip(self._dataset.batches(), self._answers, strict=True):
            outputs = self._network.run(self._images(batch.feeds), _replacement(variant, counts, corrections))
            meter.add([exact], [outputs.numpy()], batch.labels)
        quality = meter.result()
        costs = {name: self._cost(name, counts.get(name), variant) for name in self._layers}
        return {
            "top-1 loss (points)": quality.drop * 100,
            "agreement (%)": quality.agreement * 100,
            "error": quality.error,
            "FLOPs saved (%)": model_cost(costs.values()).reduction * 100,
            "r": float(np.mean([1 - float(row[2] / row[1]) for row in counts.values()])),
        }

    def _cost(self, name: str, counts: Tensor | None, variant: Variant) -> LayerCost:
        shape, _ = self._layers[name]
        if counts is None:
            return plain_layer(shape)
        merging, compression = variant.merging, Compression.from_stats(counts.tolist())
        cost = layer_cost(shape, compression, variant.count, variant.sparsity, merging.formula)
        further = merging.extra * shape.patches * shape.in_channels * shape.window
        return LayerCost(**{**vars(cost), "coefficients": cost.coefficients + further})

    def _calibrate(self, variant: Variant) -> dict[str, tuple[Tensor, Tensor]]:
        """Gain and bias of every layer, each behind those before it: one pass, because all images are one batch."""
        assert self._calibration is not None
        found: dict[str, tuple[Tensor, Tensor]] = {}
        if not self._stock_moments:

            def watch(name: str, x: Tensor, weight: Tensor, bias: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
                out = functional.conv2d(x, weight, bias, padding=pads[:2])
                self._stock_moments[name] = _moments(out)
                return out

            self._network.run(self._calibration, watch)
        compress = _replacement(variant, {}, {})

        def correct(name: str, x: Tensor, weight: Tensor, bias: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
            raw = compress(name, x, weight, torch.zeros_like(bias), pads)
            ours = _moments(raw)
            table = torch.from_numpy(correction(self._stock_moments[name], ours, np.zeros_like(ours.mean)))
            found[name] = table[0], table[1]
            return raw * table[0][:, None, None] + table[1][:, None, None]

        self._network.run(self._calibration, correct)
        return found

    def _images(self, feeds: Mapping[str, Any]) -> Tensor:
        return torch.as_tensor(feeds[self._input])


def _replacement(
    variant: Variant, counts: dict[str, Tensor], corrections: Mapping[str, tuple[Tensor, Tensor]]
) -> Callable[[str, Tensor, Tensor, Tensor, tuple[int, int, int, int]], Tensor]:
    """A compressed convolution; it adds to `counts` [4]: patches, channels, buckets, buckets of several."""

    def convolve(name: str, x: Tensor, weight: Tensor, bias: Tensor, pads: tuple[int, int, int, int]) -> Tensor:
        cut, grid, out = windows(x, weight.shape[2:], pads, PATCH)
        flat = cut.flatten(2)
        labels = variant.grouping(name, flat)
        merged = variant.merging.apply(flat, labels, weight)
        sizes = torch.zeros_like(labels).scatter_add(1, labels, torch.ones_like(labels))
        buckets = int((sizes > 0).sum()) - merged.skipped
        row = torch.tensor([len(cut), labels.numel(), buckets, int((sizes > 1).sum())], dtype=torch.float64)
        counts[name] = counts.get(name, torch.zeros(4, dtype=torch.float64)) + row
        correction = corrections.get(name)
        pixels = functional.conv2d(merged.windows.reshape(cut.shape), weight, None if correction else bias)
        whole = assemble(pixels, x.shape[0], grid, out)
        return whole if correction is None else whole * correction[0][:, None, None] + correction[1][:, None, None]

    return convolve


def hashed(
    emulation: Emulation, count: int, sparsity: float, seed: int, merging: str, corrected: bool = False
) -> Variant:
    """The product's hyperplanes with some merging."""
    grouping = by_planes(emulation.planes(count, sparsity, seed))
    key = f"ternary, s = {sparsity:.3f}, L = {count}, {merging}"
    return Variant(key, grouping, count, sparsity, MERGINGS[merging], corrected)


def _moments(out: Tensor) -> Moments:
    values = out.double()
    deviation = values.var((0, 2, 3), unbiased=False).sqrt()
    return Moments(values.mean((0, 2, 3)).numpy(), deviation.numpy())


def _whole(dataset: Dataset) -> Tensor:
    return torch.from_numpy(np.concatenate([next(iter(batch.feeds.values())) for batch in dataset.batches()]))


def _layers(proto: onnx.ModelProto, feeds: Mapping[str, Any]) -> dict[str, tuple[Any, bool]]:
    """Name -> sizes, and whether the layer is compressed, of all convolutions."""
    compressed = compressed_with(proto, Options(patch=PATCH))
    return {layer.name: (layer.shape, layer.compressed) for layer in model_layers(compressed, feeds)}


def _fingerprint(proto: onnx.ModelProto, dataset: Dataset, limit: int) -> str:
    model = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()[:16]
    return f"{model} {dataset.name} {limit}"
