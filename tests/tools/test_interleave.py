from __future__ import annotations

import pytest

from tools.engines.coordinator import EngineError
from tools.engines.interleave import COLD_IS_WARM_S, Plan, Point, measure
from tools.engines.worker import Sample


class _Machine:
    """A clock that engines move, and a record of who ran."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int, int]] = []

    def point(self, label: str, seconds: float, fails_at: int | None = None) -> Point:
        def run(index: int, warm_ups: int) -> Sample:
            self.calls.append((label, index, warm_ups))
            if fails_at is not None and sum(name == label for name, _, _ in self.calls) > fails_at:
                raise EngineError(f"{label} broke")
            self.now += seconds * (1 + warm_ups)
            return Sample(seconds, seconds, [])

        return Point(label, run)

    def measure(self, points: list[Point], inputs: int, plan: Plan) -> None:
        measure(points, inputs, plan, clock=lambda: self.now)


def test_a_round_is_one_turn_of_everybody_on_the_same_input_and_the_order_rotates() -> None:
    machine = _Machine()
    machine.measure([machine.point(label, 0.1) for label in "abc"], 2, Plan(seconds=0, min_rounds=3, max_rounds=3))
    rounds = [machine.calls[start : start + 3] for start in (0, 3, 6)]
    assert ["".join(label for label, _, _ in turns) for turns in rounds] == ["abc", "bca", "cab"]
    assert [{index for _, index, _ in turns} for turns in rounds] == [{0}, {1}, {0}]


def test_the_budget_counts_from_the_end_of_the_first_rounds() -> None:
    machine = _Machine()
    points = [machine.point("a", 0.1), machine.point("b", 0.1)]
    machine.measure(points, 1, Plan(seconds=1.0, min_rounds=4, max_rounds=100))
    # A round costs 4 × 0.1 s: four for everybody, then three until a second is over.
    assert [len(point.samples) for point in points] == [7, 7]


def test_a_slow_engine_gets_the_first_rounds_only() -> None:
    machine = _Machine()
    points = [machine.point("stock", 0.1), machine.point("slow", 3.0), machine.point("fast", 0.01)]
    machine.measure(points, 1, Plan(seconds=1e9, min_rounds=2, max_rounds=9, slow_factor=5))
    assert [len(point.samples) for point in points] == [9, 2, 9]


def test_a_long_inference_is_warmed_up_once_and_a_short_one_every_turn() -> None:
    machine = _Machine()
    points = [machine.point("short", 0.1), machine.point("long", COLD_IS_WARM_S)]
    machine.measure(points, 1, Plan(min_rounds=3, max_rounds=3))
    assert [warm_ups for label, _, warm_ups in machine.calls if label == "short"] == [1, 1, 1]
    assert [warm_ups for label, _, warm_ups in machine.calls if label == "long"] == [1, 0, 0]


@pytest.mark.parametrize("fails_at", [0, 2])
def test_a_failure_ends_one_point_and_keeps_its_samples(fails_at: int) -> None:
    machine = _Machine()
    points = [machine.point("works", 0.1), machine.point("breaks", 0.1, fails_at)]
    machine.measure(points, 1, Plan(min_rounds=5, max_rounds=5))
    assert [len(point.samples) for point in points] == [5, fails_at]
    assert points[1].failure == "breaks broke"
    assert sum(label == "breaks" for label, _, _ in machine.calls) == fails_at + 1


def test_a_baseline_that_fails_does_not_stop_the_others() -> None:
    machine = _Machine()
    points = [machine.point("stock", 0.1, fails_at=0), machine.point("other", 0.1)]
    machine.measure(points, 1, Plan(min_rounds=2, max_rounds=4))
    assert len(points[1].samples) == 4
