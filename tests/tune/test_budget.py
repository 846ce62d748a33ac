from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime_ops.budget import LatencyBudget


class Clock:
    """Time that passes only when the fake session works."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class FakeSession:
    """Takes 10 ms at level 0, 8 at 1, 5 at 2, times the load of the machine."""

    steering = frozenset({"haste_level"})

    def __init__(self, clock: Clock) -> None:
        self.clock, self.level, self.load = clock, 0, 1.0

    def run(self, feeds: Any, outputs: Any = None) -> list[Any]:
        self.clock.seconds += [0.010, 0.008, 0.005][self.level] * self.load
        return [self.level]


@pytest.fixture
def session() -> FakeSession:
    return FakeSession(Clock())


def make(session: FakeSession, target: float) -> LatencyBudget:
    budget = LatencyBudget(session, target, [0, 1, 2], clock=session.clock)  # type: ignore[arg-type]
    budget.calibrate(np.zeros(1))
    return budget


@pytest.mark.parametrize(("target", "level"), [(20, 0), (9, 1), (6, 2), (1, 2)])
def test_the_most_accurate_level_that_fits(session: FakeSession, target: float, level: int) -> None:
    budget = make(session, target)
    assert budget.level == session.level == level
    assert budget.estimates_ms == pytest.approx({0: 10, 1: 8, 2: 5})


def test_it_follows_the_load_up_and_down(session: FakeSession) -> None:
    budget = make(session, 12)
    assert budget.level == 0
    session.load = 2.0
    levels = [budget.run(np.zeros(1))[0] for _ in range(20)]
    assert levels[0] == 0
    assert levels[-1] == 2
    assert levels == sorted(levels), "it does not swing"
    session.load = 1.0
    for _ in range(20):
        budget.run(np.zeros(1))
    assert budget.level == 0


def test_at_the_border_it_does_not_swing(session: FakeSession) -> None:
    budget = make(session, 9.99)
    seen = {budget.run(np.zeros(1))[0] for _ in range(30)}
    assert seen == {1}


def test_misuse(session: FakeSession) -> None:
    with pytest.raises(ValueError, match="at least one level"):
        LatencyBudget(session, 5, [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="above 0 ms"):
        LatencyBudget(session, 0, [1])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="calibrate"):
        LatencyBudget(session, 5, [1]).run(np.zeros(1))  # type: ignore[arg-type]
