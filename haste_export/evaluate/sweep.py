"""Accuracy against cost over a list of L and of seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx

from haste_export.contract import STEERING_LEVEL
from haste_export.evaluate.engine import Judge, Outcome, Progress
from haste_export.evaluate.models import check_settings, compressed_with
from haste_export.evaluate.stats import Layer, compression, hyperplanes_in_use, model_layers, total_cost
from haste_export.options import Options


@dataclass(frozen=True)
class Point:
    """One model at one setting.

    Attributes:
        setting: L, or the level of a model that has levels.
        seed: of the hyperplanes; None for a model that was given compressed.
        samples: how many were looked at.
        score: top-1 or the data set's own metric; None without labels.
        agreement: share of samples whose first output peaks where stock's does.
        cosine: mean cosine between outputs and stock's.
        error: relative error of the outputs.
        r: mean compression of the layers.
        flops_reduction: share of all convolutions' FLOPs that is saved (the paper's appendix B.1).
        milliseconds: per sample.
        stock_milliseconds: the same for stock, measured in turns.
    """

    setting: int
    seed: int | None
    samples: int
    score: float | None
    agreement: float
    cosine: float
    error: float
    r: float
    flops_reduction: float
    milliseconds: float
    stock_milliseconds: float

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (over n, not n − 1) of one number over the seeds."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread | None:
        """None when a value is missing."""
        known = [value for value in values if value is not None]
        return cls(float(np.mean(known)), float(np.std(known))) if len(known) == len(values) else None


NUMBERS = ("score", "agreement", "cosine", "error", "r", "flops_reduction", "milliseconds", "stock_milliseconds")


def summarise(points: Sequence[Point]) -> dict[int, dict[str, Spread | None]]:
    """Setting -> number -> mean and deviation over the seeds, in the order in which the settings came."""
    settings = dict.fromkeys(point.setting for point in points)
    return {
        setting: {
            name: Spread.of([getattr(point, name) for point in points if point.setting == setting]) for name in NUMBERS
        }
        for setting in settings
    }


def sweep(
    judge: Judge,
    stock: onnx.ModelProto,
    options: Options,
    hyperplanes: Sequence[int],
    seeds: Sequence[int],
    progress: Progress | None = None,
) -> Iterator[Point]:
    """Compress once per seed, steer to every L, and judge. Yields point by point."""
    wanted = replace(options, max_hyperplanes=max(*hyperplanes, 1), hyperplanes=max(*hyperplanes, 1))
    for seed in seeds:
        compressed = compressed_with(stock, replace(wanted, seed=seed))
        yield from sweep_compressed(judge, compressed, hyperplanes, seed, progress)


def sweep_compressed(
    judge: Judge,
    compressed: onnx.ModelProto,
    settings: Sequence[int],
    seed: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Point]:
    """The same for a model that is compressed already; settings are L, or levels if it has them."""
    check_settings(compressed, settings)
    session = judge.open(compressed)
    layers = model_layers(compressed, next(judge.dataset.batches()).feeds)
    for setting in settings:
        if STEERING_LEVEL in session.steering:
            session.level = setting
        else:
            session.hyperplanes = setting
        outcome = judge.judge(session, progress)
        counts = hyperplanes_in_use(compressed, setting)
        yield point(outcome, layers, counts, setting, seed)


def point(outcome: Outcome, layers: Sequence[Layer], counts: dict[str, int], setting: int, seed: int | None) -> Point:
    """An outcome with its costs; `counts` has L by layer."""
    quality = outcome.quality
    return Point(
        setting,
        seed,
        quality.samples,
        quality.score,
        quality.agreement,
        quality.cosine,
        quality.error,
        compression(outcome.stats),
        total_cost(layers, counts, outcome.stats).reduction,
        outcome.milliseconds,
        outcome.stock_milliseconds,
    )
