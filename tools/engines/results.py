"""From samples to the numbers of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.engines.adapters.base import Array, Outputs
from tools.engines.interleave import Point
from tools.engines.worker import Sample


@dataclass(frozen=True)
class Row:
    """One row of the table; times in milliseconds.

    Attributes:
        label: engine and setting.
        engine: name of the worker it came from.
        version: the engine's own.
        failure: why it was not, or not completely, measured.
        runs: timed inferences.
        median, first_quartile, third_quartile: of their wall times.
        speedup: median of the baseline divided by this median.
        cores: processor time divided by wall time; shows whether an engine kept to the number of threads it was given.
        inputs: different photographs among the runs; the three columns that follow are over these.
        feature_error: mean over the photographs of ‖y − y₀‖ / ‖y₀‖ of the last feature map, y₀ the baseline's.
        score_error: the same of the class scores.
        top1: photographs whose highest score is the baseline's.
        prepare_seconds: converting (if not done already) and loading.
    """

    label: str
    engine: str
    version: str = ""
    failure: str | None = None
    runs: int = 0
    median: float | None = None
    first_quartile: float | None = None
    third_quartile: float | None = None
    speedup: float | None = None
    cores: float | None = None
    inputs: int = 0
    feature_error: float | None = None
    score_error: float | None = None
    top1: int | None = None
    prepare_seconds: float | None = None


def relative_error(value: Array, reference: Array) -> float:
    """Return ‖value − reference‖ / ‖reference‖ over all elements; infinite when the sizes differ or a NaN came out.

    Shapes may differ by axes of length one, which some engines drop.
    """
    if value.size != reference.size or not np.isfinite(value).all():
        return float("inf")
    norm = float(np.linalg.norm(reference))
    distance = float(np.linalg.norm(value.ravel() - reference.ravel()))
    return distance / norm if norm else (0.0 if distance == 0 else float("inf"))


def first_outputs(samples: Sequence[tuple[int, Sample]]) -> dict[int, Outputs]:
    """Return the outputs of the first run of every photograph."""
    outputs: dict[int, Outputs] = {}
    for index, sample in samples:
        outputs.setdefault(index, sample.outputs)
    return outputs


def summarise(
    point: Point, engine: str, version: str, prepare_seconds: float, reference: Mapping[int, Outputs], baseline: float
) -> Row:
    """Return the row of a point.

    Args:
        point: what was measured; it may have failed before its first sample.
        engine: name of the worker.
        version: the engine's own.
        prepare_seconds: what converting and loading took.
        reference: the baseline's outputs, by photograph.
        baseline: the baseline's median in milliseconds.
    """
    if not point.samples:
        return Row(point.label, engine, version, point.failure or "no run", prepare_seconds=prepare_seconds)
    times = np.array([sample.seconds for _, sample in point.samples]) * 1e3
    first, middle, third = (float(value) for value in np.percentile(times, [25, 50, 75]))
    outputs = {index: found for index, found in first_outputs(point.samples).items() if index in reference}
    features = [relative_error(y[-1], reference[index][-1]) for index, y in outputs.items()]
    scores = [relative_error(y[0], reference[index][0]) for index, y in outputs.items()]
    agreed = sum(_top1(y[0]) == _top1(reference[index][0]) for index, y in outputs.items())
    return Row(
        label=point.label,
        engine=engine,
        version=version,
        failure=point.failure,
        runs=len(times),
        median=middle,
        first_quartile=first,
        third_quartile=third,
        speedup=baseline / middle,
        cores=float(np.median([sample.cpu_seconds / sample.seconds for _, sample in point.samples])),
        inputs=len(outputs),
        feature_error=_mean(features),
        score_error=_mean(scores),
        top1=agreed,
        prepare_seconds=prepare_seconds,
    )


def _top1(scores: npt.NDArray[np.float32]) -> int:
    return int(np.argmax(scores))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
