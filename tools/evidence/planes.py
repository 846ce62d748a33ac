"""Other ways to choose hyperplanes than drawing each entry by itself, to be measured with the native operator.

Each draws int8 [count, window] for one layer, with the same share of zeros as the product's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from haste_export import contract
from haste_export.evaluate.models import compressed_with
from haste_export.evaluate.stats import haste_convs
from haste_export.hyperplanes import draw_hyperplanes
from haste_export.options import Options
from haste_export.plan import LayerSetting
from haste_export.tune.data_free import local_effects, synthetic_dataset

Planes = npt.NDArray[np.int8]
_CANDIDATES = 32
_SETS = 8
_JUDGED_AT = 10
"""L at which sets are compared."""


def orthogonal(layer: str, count: int, window: int, sparsity: float, seed: int) -> Planes:
    """Each row is that of 32 random ones which is closest to orthogonal to the rows before it."""
    pool = draw_hyperplanes(layer, count * _CANDIDATES, window, sparsity=sparsity, seed=seed)
    chosen: list[Planes] = []
    for candidates in pool.reshape(count, _CANDIDATES, window):
        before = np.array(chosen[-(window - 1) :], np.int64).reshape(-1, window)
        overlap = (candidates.astype(np.int64) @ before.T) ** 2
        chosen.append(candidates[int(overlap.sum(1).argmin())])
    return np.array(chosen)


def zero_sum(layer: str, count: int, window: int, sparsity: float, seed: int) -> Planes:
    """As many +1 as −1 in every row, so that a constant window projects to zero."""
    rng = _rng(layer, seed)
    half = max((window - round(sparsity * window)) // 2, 1)
    rows = np.zeros((count, window), np.int8)
    for row in rows:
        places = rng.permutation(window)
        row[places[:half]], row[places[half : 2 * half]] = 1, -1
    return rows


def even_cover(layer: str, count: int, window: int, sparsity: float, seed: int) -> Planes:
    """Every pixel of the window is in use in as many rows as any other, within one."""
    rng = _rng(layer, seed)
    used = np.zeros(window, np.int64)
    rows = np.zeros((count, window), np.int8)
    size = window - min(round(sparsity * window), window - 1)
    for row in rows:
        places = np.lexsort((rng.random(window), used))[:size]
        used[places] += 1
        row[places] = rng.choice(np.array([-1, 1], np.int8), size)
    return rows


DRAWN: dict[str, Callable[[str, int, int, float, int], Planes]] = {
    "orthogonal": orthogonal,
    "zero sum": zero_sum,
    "even cover": even_cover,
}
BEST_OF = f"best of {_SETS}"


def replace_planes(compressed: onnx.ModelProto, planes: Mapping[str, Planes]) -> None:
    """Give layers other hyperplanes, in place."""
    tensors = {tensor.name: tensor for tensor in compressed.graph.initializer}
    for node in haste_convs(compressed):
        tensor = tensors[node.input[contract.V]]
        tensor.CopyFrom(numpy_helper.from_array(planes[node.name], tensor.name))


def choose(kind: str, stock: onnx.ModelProto, options: Options) -> dict[str, Planes]:
    """Hyperplanes of one kind for every layer that is rewritten with these options."""
    if kind == BEST_OF:
        return best_of(stock, options)
    current = _planes(compressed_with(stock, options))
    counts = {name: planes.shape for name, planes in current.items()}
    return {name: DRAWN[kind](name, n, window, options.sparsity, options.seed) for name, (n, window) in counts.items()}


def best_of(stock: onnx.ModelProto, options: Options) -> dict[str, Planes]:
    """Of eight sets per layer, the one whose own error on synthetic images is least, corrected for what it saves.

    Savings are turned into error by the layer's own exchange rate between neighbouring L. Real images are not used.
    """
    images = synthetic_dataset(stock, {}, batches=4)
    models = [compressed_with(stock, _with_seed(options, options.seed * _SETS + place)) for place in range(_SETS)]
    around = [LayerSetting(_JUDGED_AT + step) for step in (-2, 2)]
    rates = {}
    for name, (_, less, more) in local_effects(models[0], images, around, threads=1).items():
        rates[name] = (less.error_squared - more.error_squared) / max(less.saved - more.saved, 1e-9)
    scores: dict[str, list[float]] = {name: [] for name in rates}
    for model in models:
        for name, (_, effect) in local_effects(model, images, [LayerSetting(_JUDGED_AT)], threads=1).items():
            scores[name].append(effect.error_squared - rates[name] * effect.saved)
    drawn = [_planes(model) for model in models]
    return {name: drawn[int(np.argmin(row))][name] for name, row in scores.items()}


def _with_seed(options: Options, seed: int) -> Options:
    values: dict[str, Any] = {**vars(options), "seed": seed}
    return Options(**values)


def _planes(compressed: onnx.ModelProto) -> dict[str, Planes]:
    tensors = {tensor.name: tensor for tensor in compressed.graph.initializer}
    return {node.name: numpy_helper.to_array(tensors[node.input[contract.V]]) for node in haste_convs(compressed)}


def _rng(layer: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(layer.encode())])
