"""The order of measurement: single inferences in turns, so that all engines see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from tools.engines.coordinator import EngineError
from tools.engines.worker import Sample

Clock = Callable[[], float]
COLD_IS_WARM_S = 0.5  # from this duration on, cold caches at the start of a turn no longer matter


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        seconds: budget of the rounds that come after the first min_rounds; a round that has begun is finished.
        min_rounds: rounds that every point gets whatever they cost.
        max_rounds: no more than this.
        slow_factor: a point this many times slower than the first one gets min_rounds only.
    """

    seconds: float = 120.0
    min_rounds: int = 3
    max_rounds: int = 60
    slow_factor: float = 5.0


@dataclass
class Point:
    """One row of the table while it is measured.

    Attributes:
        label: what the table calls it.
        run: (input index, untimed runs before) -> sample; raises EngineError.
        samples: what was measured, with the input index of each.
        failure: why measuring ended early, if it did.
    """

    label: str
    run: Callable[[int, int], Sample]
    samples: list[tuple[int, Sample]] = field(default_factory=list)
    failure: str | None = None

    @property
    def seconds(self) -> float:
        """Median so far."""
        return median(sample.seconds for _, sample in self.samples)


def measure(points: Sequence[Point], inputs: int, plan: Plan, clock: Clock = time.monotonic) -> None:
    """Fill the points' samples, round by round; the first point is what slow_factor refers to.

    A round is one turn of every point on the same input. A turn is one untimed run, which brings the engine's weights
    back into the caches, and a timed one. The order within a round rotates, so that nobody always follows the same
    neighbour. A point that fails keeps its samples and its reason and gets no more turns.
    """
    start = clock()
    for number in range(plan.max_rounds):
        if number == plan.min_rounds:
            start = clock()
        if number >= plan.min_rounds and clock() - start >= plan.seconds:
            return
        active = [
            point for point in points if point.failure is None and not _is_finished(point, points[0], number, plan)
        ]
        if not active:
            return
        shift = number % len(active)
        for point in active[shift:] + active[:shift]:
            _turn(point, number % inputs)


def _is_finished(point: Point, first: Point, number: int, plan: Plan) -> bool:
    if number < plan.min_rounds or not first.samples:
        return False
    return point.seconds > plan.slow_factor * first.seconds


def _turn(point: Point, index: int) -> None:
    warm_ups = 0 if point.samples and point.seconds >= COLD_IS_WARM_S else 1
    try:
        point.samples.append((index, point.run(index, warm_ups)))
    except EngineError as error:
        point.failure = str(error)
