"""One trial of the tuner: per-layer settings in, cost and loss out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import onnx

from haste_export.evaluate.engine import Judge, Outcome
from haste_export.evaluate.layers import SteeredModel
from haste_export.evaluate.stats import Layer, model_layers, total_cost
from haste_export.flops import LayerCost, model_cost, plain_layer
from haste_export.membus.geometry import Core
from haste_export.plan import LayerSetting
from haste_export.tune.correct import Corrections, MomentMeter
from haste_export.tune.memory import relative_bytes

CostName = Literal["flops", "time", "memory"]
Settings = Mapping[str, LayerSetting]


@dataclass(frozen=True)
class Result:
    """What one choice of settings costs and loses.

    Attributes:
        cost: relative to stock: convolutions' FLOPs, milliseconds, or bytes by the analytic model.
        disagreement: share of samples on which the two models differ; the score's drop can not exceed it.
        drop: stock's score minus ours (without labels: the disagreement).
        drop_error: its standard error.
        error: relative error of the outputs.
        flops_reduction: share of the convolutions' FLOPs that is saved.
    """

    cost: float
    disagreement: float
    drop: float
    drop_error: float
    error: float
    flops_reduction: float

    @property
    def safe_drop(self) -> float:
        """The drop plus its standard error, held against the budget: the best of many trials was also lucky."""
        return self.drop + self.drop_error


class Objective:
    """Measures settings of one compressed model on one data set."""

    def __init__(
        self,
        judge: Judge,
        compressed: onnx.ModelProto,
        cost: CostName = "flops",
        core: Core | None = None,
        meter: MomentMeter | None = None,
    ) -> None:
        """Open the model.

        Args:
            judge: has the data set.
            compressed: made with a τ when τ is to be tuned.
            cost: what is to be saved.
            core: whose caches count, for the cost "memory".
            meter: corrects whatever is measured; None leaves it uncorrected.
        """
        self._steered = SteeredModel(judge, compressed, correctable=meter is not None)
        self._meter = meter
        self._alone: dict[LayerSetting, Corrections] = {}
        self._all = model_layers(compressed, next(judge.dataset.batches()).feeds)
        self._cost, self._core = cost, core
        steered = set(self._steered.layers)
        self.layers: dict[str, Layer] = {layer.name: layer for layer in self._all if layer.name in steered}
        self.regular = model_cost(plain_layer(layer.shape) for layer in self._all).regular

    def measure(self, settings: Settings) -> Result:
        """One pass over the data set; layers that are not named are dense."""
        outcome = self._steered.judge(settings, self._meter.calibrate(settings) if self._meter else None)
        quality = outcome.quality
        reduction = self.whole_cost(settings, outcome).reduction
        return Result(
            self._relative_cost(outcome, reduction),
            1 - quality.agreement,
            quality.drop,
            quality.drop_error,
            quality.error,
            reduction,
        )

    def _relative_cost(self, outcome: Outcome, reduction: float) -> float:
        if self._cost == "time":
            return outcome.milliseconds / outcome.stock_milliseconds
        if self._cost == "memory":
            assert self._core is not None
            return relative_bytes(self._all, outcome.stats, self._core)
        return 1 - reduction

    def whole_cost(self, settings: Settings, outcome: Outcome) -> LayerCost:
        """FLOPs of all convolutions."""
        counts = {name: setting.hyperplanes for name, setting in settings.items()}
        return total_cost(self._all, counts, outcome.stats)

    def saved(self, name: str, setting: LayerSetting) -> tuple[float, float]:
        """With only this layer compressed: (relative error of the output, share of the model's FLOPs saved)."""
        corrections = self._corrections_alone(setting)
        only = {name: corrections[name]} if corrections else None
        outcome = self._steered.judge({name: setting}, only)
        cost = self.layers[name].cost(setting.hyperplanes, outcome.stats.get(name))
        return outcome.quality.error, (cost.regular - cost.haste) / self.regular

    def _corrections_alone(self, setting: LayerSetting) -> Corrections:
        """Each layer's correction when it is the only one compressed; empty without a meter."""
        if self._meter is None:
            return {}
        if setting not in self._alone:
            self._alone[setting] = self._meter.alone(dict.fromkeys(self.layers, setting))
        return self._alone[setting]
