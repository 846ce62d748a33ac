"""Allocates L from the model alone: what its layers do to synthetic images, and nothing about accuracy.

What this can know: the redundancy that a layer's weights and the statistics of natural images produce, so which layers
compress well and what each does to its own output. What it can not know: how much an error in a layer matters to the
task, and any redundancy or sensitivity that only real inputs show. It equalises the price of error over the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from haste_export.bench.inputs import ModelInput, model_inputs, resolve_shape
from haste_export.evaluate.dataset import Batch, Dataset, top1
from haste_export.evaluate.layers import LocalEffects
from haste_export.evaluate.stats import haste_convs, model_layers
from haste_export.flops import model_cost, plain_layer
from haste_export.plan import LayerSetting
from haste_export.tune.allocate import DENSE, Effect


def synthetic_images(shape: Sequence[int], seed: int) -> npt.NDArray[np.float32]:
    """Random fields [..., H, W] whose amplitude falls as 1/f, like that of photographs, with mean 0 and deviation 1.

    Every image and channel is drawn on its own. (Field 1987 on the 1/f amplitude of natural scenes.)
    """
    rng = np.random.default_rng(seed)
    height, width = shape[-2:]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0 / max(height, width)
    noise = np.fft.rfft2(rng.standard_normal(tuple(shape)))
    fields = np.fft.irfft2(noise / frequency, s=(height, width))
    fields -= fields.mean(axis=(-2, -1), keepdims=True)
    deviation = fields.std(axis=(-2, -1), keepdims=True)
    return np.asarray(fields / np.where(deviation > 0, deviation, 1), np.float32)


def synthetic_dataset(
    model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], batches: int = 8, batch: int = 8, seed: int = 0
) -> Dataset:
    """Unlabelled batches of synthetic images for a model; inputs that are no images get normal noise.

    Raises InputValueError when a size is open and `shapes` does not give it.
    """
    entries = [(entry, resolve_shape(entry, shapes, None)) for entry in model_inputs(model)]
    fixed = any(isinstance(entry.shape[0], int) for entry, _ in entries if entry.shape)
    size = None if fixed else batch
    kept = [
        Batch({entry.name: _values(entry, shape, size, seed + index) for entry, shape in entries}, None)
        for index in range(batches)
    ]

    def again() -> Iterator[Batch]:
        return iter(kept)

    return Dataset("synthetic images", again, labelled=False, metric=top1)


def _values(entry: ModelInput, shape: tuple[int, ...], batch: int | None, seed: int) -> npt.NDArray[Any]:
    sizes = shape if batch is None else (batch, *shape[1:])
    if len(sizes) != 4 or not np.issubdtype(entry.dtype, np.floating):
        return np.random.default_rng(seed).standard_normal(sizes).astype(entry.dtype)
    if sizes[3] in (1, 3) and sizes[1] not in (1, 3):
        turned = synthetic_images((sizes[0], sizes[3], sizes[1], sizes[2]), seed).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(turned, entry.dtype)
    return synthetic_images(sizes, seed).astype(entry.dtype)


def local_effects(
    compressed: onnx.ModelProto,
    dataset: Dataset,
    settings: Sequence[LayerSetting],
    threads: int = 0,
    progress: Callable[[], None] | None = None,
) -> dict[str, list[Effect]]:
    """Every layer's own error and savings at every setting, for `allocate.choose`: one pass per setting."""
    layers = {layer.name: layer for layer in model_layers(compressed, next(dataset.batches()).feeds)}
    regular = model_cost(plain_layer(layer.shape) for layer in layers.values()).regular
    names = [node.name for node in haste_convs(compressed) if node.name in layers]
    effects = {name: [Effect(DENSE, 0.0, 0.0)] for name in names}
    meter = LocalEffects(compressed, threads)
    for setting in settings:
        for name, local in meter.measure(dataset, dict.fromkeys(names, setting)).items():
            cost = layers[name].cost(setting.hyperplanes, local.stats)
            effects[name].append(Effect(setting, local.error**2, (cost.regular - cost.haste) / regular))
        if progress is not None:
            progress()
    return effects
