"""Which layer costs how much: each compressed alone, and each on stock's own inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import runtime_ops
from haste_export.evaluate import steer
from haste_export.evaluate.dataset import Dataset
from haste_export.evaluate.engine import Judge, Outcome, session_options
from haste_export.evaluate.stats import haste_convs
from haste_export.plan import LayerSetting

Array = npt.NDArray[Any]


class SteeredModel:
    """A compressed model whose layers are steered one by one, judged against stock."""

    def __init__(self, judge: Judge, compressed: onnx.ModelProto) -> None:
        """Open the `steer.per_layer` copy of a compressed model."""
        self._judge = judge
        self._session = judge.open(steer.per_layer(compressed))
        self._inputs = frozenset(node.name for node in self._session.inference.get_overridable_initializers())
        suffix = "/hyperplanes"
        self.layers = tuple(
            node.name for node in haste_convs(compressed) if f"{steer.PREFIX}{node.name}{suffix}" in self._inputs
        )

    def judge(self, settings: Mapping[str, LayerSetting]) -> Outcome:
        """One pass over the data set; layers that are not named run dense."""
        return self._judge.judge(self._session, feeds=steer.feeds(settings, self._inputs))


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
    errors = local_errors(compressed, judge.dataset, dict.fromkeys(steered.layers, setting), judge.threads)
    effects = []
    for name in steered.layers:
        effects.append(LayerEffect(name, steered.judge({name: setting}), errors[name]))
        if progress is not None:
            progress()
    return effects


def local_errors(
    compressed: onnx.ModelProto, dataset: Dataset, settings: Mapping[str, LayerSetting], threads: int = 0
) -> dict[str, float]:
    """Relative error of every layer's own output with each layer's input reset to stock's: one pass for all layers."""
    return LocalErrors(compressed, threads).measure(dataset, settings)


class LocalErrors:
    """Measures `local_errors` for any number of settings."""

    def __init__(self, compressed: onnx.ModelProto, threads: int = 0) -> None:
        """Open the `steer.with_stock_inputs` copy of a compressed model."""
        model = steer.with_stock_inputs(compressed)
        self._session = runtime_ops.Session(model.SerializeToString(), options=session_options(threads))
        self._inputs = frozenset(node.name for node in self._session.inference.get_overridable_initializers())
        self._layers = [node.name for node in haste_convs(compressed)]

    def measure(self, dataset: Dataset, settings: Mapping[str, LayerSetting]) -> dict[str, float]:
        """Layer name -> ‖y − y_stock‖ / ‖y_stock‖; 0 where the layer's output is all zero."""
        wanted = [f"haste_{kind}/{name}" for kind in ("error", "energy") for name in self._layers]
        totals = np.zeros(len(wanted))
        steering = steer.feeds(settings, self._inputs)
        for batch in dataset.batches():
            totals += np.array(self._session.run({**batch.feeds, **steering}, wanted), np.float64)
        error, energy = totals.reshape(2, -1)
        ratios = np.divide(error, energy, out=np.zeros_like(error), where=energy > 0)
        return dict(zip(self._layers, np.sqrt(ratios).tolist(), strict=True))


def sort_by_harm(effects: Sequence[LayerEffect]) -> list[LayerEffect]:
    """The layer that changes the model's output most comes first."""
    return sorted(effects, key=lambda effect: effect.alone.quality.error, reverse=True)
