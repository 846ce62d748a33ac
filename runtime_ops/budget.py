"""Keeps inferences within a time budget by changing the level of compression between two runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from runtime_ops.session import LEVEL_INPUT, Session

Feeds = Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any]


class LatencyBudget:
    """Runs a session at the least compressed level that is expected to meet a target time.

    Every run updates what is known about its level, as an exponentially weighted mean. What a run says about the load
    of the machine carries over to the other levels: their times keep the ratios that were measured at the start. The
    level goes down (to more accurate ones) only when the target is met with a margin, so that it does not swing.

        budget = LatencyBudget(session, target_ms=8, levels=[0, 1, 2, 3])
        budget.calibrate({"image": example})
        scores, = budget.run({"image": image})

    Attributes:
        level: the level of the next run.
    """

    MARGIN = 0.9
    """A more accurate level must be expected within this share of the target."""
    MEMORY = 0.8
    """Share of the old estimate that a new measurement leaves."""

    def __init__(
        self,
        session: Session,
        target_ms: float,
        levels: Sequence[int],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Steer `session` by its input haste_level, or haste_hyperplanes where it has no levels.

        Args:
            session: what to run.
            target_ms: time that a run may take, in milliseconds.
            levels: values to choose from, from the most accurate to the fastest.
            clock: seconds; for tests.

        Raises:
            ValueError: no levels, or a target that is not positive.
        """
        if not levels:
            raise ValueError("a budget needs at least one level to choose from")
        if not target_ms > 0:
            raise ValueError(f"the target must be above 0 ms, not {target_ms}")
        self._session = session
        self._levels = list(levels)
        self._clock = clock
        self._place = 0
        self._estimates: list[float] = []
        self.target_ms = target_ms
        self._steer()

    @property
    def level(self) -> int:
        """Value that the next run will use."""
        return self._levels[self._place]

    @property
    def estimates_ms(self) -> dict[int, float]:
        """What each level is expected to take now, in milliseconds; empty before `calibrate`."""
        return dict(zip(self._levels, self._estimates, strict=False))

    def calibrate(self, feeds: Feeds, runs: int = 3) -> dict[int, float]:
        """Measure every level, the best of `runs` after one to warm up, and choose one. Returns the estimates."""
        self._estimates = []
        for place in range(len(self._levels)):
            self._place = place
            self._steer()
            self._session.run(feeds)
            self._estimates.append(min(self._timed(feeds)[0] for _ in range(runs)))
        self._choose()
        return self.estimates_ms

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> list[Any]:
        """Run once, measure, and choose the level of the next run.

        Raises:
            RuntimeError: `calibrate` was not called.
        """
        if not self._estimates:
            raise RuntimeError("call calibrate() with an example first")
        elapsed, result = self._timed(feeds, outputs)
        old = self._estimates[self._place]
        new = self.MEMORY * old + (1 - self.MEMORY) * elapsed
        self._estimates = [estimate * new / old for estimate in self._estimates]
        self._choose()
        return result

    def _timed(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> tuple[float, list[Any]]:
        start = self._clock()
        result = self._session.run(feeds, outputs)
        # A clock may be too coarse to see a short run; an estimate of zero could never grow again.
        return max((self._clock() - start) * 1e3, 1e-6), result

    def _choose(self) -> None:
        fitting = [
            place
            for place, estimate in enumerate(self._estimates)
            if estimate <= self.target_ms * (self.MARGIN if place < self._place else 1.0)
        ]
        fastest = min(range(len(self._estimates)), key=self._estimates.__getitem__)
        self._place = fitting[0] if fitting else fastest
        self._steer()

    def _steer(self) -> None:
        if LEVEL_INPUT in self._session.steering:
            self._session.level = self.level
        else:
            self._session.hyperplanes = self.level
