"""Which layer costs how much: each compressed alone, and each on stock's own inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from haste_export.contract import STATS_LENGTH, STATS_PREFIX
from haste_export.evaluate import steer
from haste_export.evaluate.dataset import Dataset
from haste_export.evaluate.engine import Judge, Outcome, native_session
from haste_export.evaluate.stats import haste_convs
from haste_export.plan import LayerSetting

Array = npt.NDArray[Any]


class SteeredModel:
    """A compressed model whose layers are steered one by one, judged against stock."""

    def __init__(self, judge: Judge, compressed: onnx.ModelProto, *, correctable: bool = False) -> None:
        """Open the `steer.per_layer` copy of a compressed model, which may be `steer.correctable` too."""
        self._judge = judge
        steered = steer.per_layer(compressed)
        self._session = judge.open(steer.correctable(steered) if correctable else steered)
        self._inputs = frozenset(node.name for node in self._session.inference.get_overridable_initializers())
        suffix = "/hyperplanes"
        self.layers = tuple(
            node.name for node in haste_convs(compressed) if f"{steer.PREFIX}{node.name}{suffix}" in self._inputs
        )

    def judge(self, settings: Mapping[str, LayerSetting], corrections: steer.Corrections | None = None) -> Outcome:
        """One pass over the data set; layers that are not named run dense, or uncorrected."""
        return self._judge.judge(self._session, feeds=steer.feeds(settings, self._inputs, corrections))


@dataclass(frozen=True)
class LayerEffect:
    """What compressing one layer does.

    Attributes:
        name: of the layer.
        alone: the outcome with this layer compressed and all others dense.
        local_error: ‖y − y_stock‖ / ‖y_stock‖ of the layer's own output, its input being stock's.
    """

    name: str
    alone: Outcome
    local_error: float


def layer_effects(
    judge: Judge, compressed: onnx.ModelProto, setting: LayerSetting, progress: Callable[[], None] | None = None
) -> list[LayerEffect]:
    """Both views of every layer at the same L and τ, in the model's order. `progress` is called after each layer."""
    steered = SteeredModel(judge, compressed)
    local = LocalEffects(compressed, judge.threads).measure(judge.dataset, dict.fromkeys(steered.layers, setting))
    effects = []
    for name in steered.layers:
        effects.append(LayerEffect(name, steered.judge({name: setting}), local[name].error))
        if progress is not None:
            progress()
    return effects


@dataclass(frozen=True)
class LocalEffect:
    """What a layer does to its own output when its input is stock's.

    Attributes:
        error: ‖y − y_stock‖ / ‖y_stock‖; 0 where the layer's output is all zero.
        stats: the operator's statistics [8], summed over all samples.
    """

    error: float
    stats: npt.NDArray[np.float64]


class LocalEffects:
    """Measures every layer with its input reset to stock's: one pass over the data for all layers."""

    def __init__(self, compressed: onnx.ModelProto, threads: int = 0) -> None:
        """Open the `steer.with_stock_inputs` copy of a compressed model."""
        model = steer.with_stock_inputs(compressed)
        self._session = native_session(model, threads)
        self._inputs = frozenset(node.name for node in self._session.inference.get_overridable_initializers())
        self._layers = [node.name for node in haste_convs(compressed)]

    def measure(self, dataset: Dataset, settings: Mapping[str, LayerSetting]) -> dict[str, LocalEffect]:
        """Layer name -> effect at the given settings; layers that are not named run dense."""
        sums = [f"haste_{kind}/{name}" for kind in ("error", "energy") for name in self._layers]
        wanted = [*sums, *(STATS_PREFIX + name for name in self._layers)]
        totals = np.zeros(len(sums))
        stats = np.zeros((len(self._layers), STATS_LENGTH))
        steering = steer.feeds(settings, self._inputs)
        for batch in dataset.batches():
            values = self._session.run({**batch.feeds, **steering}, wanted)
            totals += np.array(values[: len(sums)], np.float64)
            stats += np.array(values[len(sums) :], np.float64)
        error, energy = totals.reshape(2, -1)
        ratios = np.sqrt(np.divide(error, energy, out=np.zeros_like(error), where=energy > 0))
        rows = zip(self._layers, ratios.tolist(), stats, strict=True)
        return {name: LocalEffect(ratio, row) for name, ratio, row in rows}


def sort_by_harm(effects: Sequence[LayerEffect]) -> list[LayerEffect]:
    """The layer that changes the model's output most comes first."""
    return sorted(effects, key=lambda effect: effect.alone.quality.error, reverse=True)
