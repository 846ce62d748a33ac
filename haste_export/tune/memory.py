"""Memory traffic of a model by the analytic model of `haste membus`, for the tuner's objective "memory"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from haste_export.evaluate.stats import Layer
from haste_export.membus import analytic
from haste_export.membus.geometry import Core
from haste_export.membus.layers import MemoryShape


def relative_bytes(layers: Sequence[Layer], stats: Mapping[str, npt.NDArray[Any]], core: Core) -> float:
    """Bytes that all convolutions move on a core, per inference, relative to stock.

    Args:
        layers: all convolutions of the model.
        stats: the statistics of a run; a layer that merged nothing counts as a Conv, which it becomes at export.
        core: whose caches are reckoned with.
    """
    ours = sum(_bytes(layer, stats.get(layer.name), core) for layer in layers)
    stock = sum(analytic.stock(_shape(layer), core).total for layer in layers)
    return ours / stock


def _bytes(layer: Layer, stats: npt.NDArray[Any] | None, core: Core) -> int:
    if stats is None or stats[2] == stats[1]:
        return analytic.stock(_shape(layer), core).total
    kept = float(stats[2] / stats[1])
    # All merges but `mean` give zero channels the coefficient 0, so their filters are never read.
    read = 1 - float(stats[5] / stats[1]) if layer.merge != "mean" else 1.0
    return analytic.haste(_shape(layer), core, kept, read).total


def _shape(layer: Layer) -> MemoryShape:
    shape = layer.shape
    kernel, output = (shape.kernel_h, shape.kernel_w), (shape.out_h, shape.out_w)
    return MemoryShape(1, shape.in_channels, shape.out_channels, kernel, output, patch=shape.patch)
