"""What a bench compares and under which settings, and the rows that come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from haste_export.bench.inputs import Feeds
from haste_export.bench.interleave import Timing, Worker, interleave, relative_error, speedup, workers
from haste_export.bench.worker import Candidate
from haste_export.errors import OptionError
from runtime_ops.session import HYPERPLANES_INPUT, LEVEL_INPUT


@dataclass(frozen=True)
class Setting:
    """One value of the steering input; None leaves the model's default."""

    hyperplanes: int | None = None
    level: int | None = None

    def feeds(self, steering: frozenset[str]) -> Feeds:
        """Feed for those steering inputs that a model has."""
        values = {HYPERPLANES_INPUT: self.hyperplanes, LEVEL_INPUT: self.level}
        return {
            name: np.array(value, np.int64) for name, value in values.items() if value is not None and name in steering
        }

    def __str__(self) -> str:
        """Text for a table cell."""
        if self.hyperplanes is not None:
            return f"L={self.hyperplanes}"
        return f"level {self.level}" if self.level is not None else "default"


@dataclass(frozen=True)
class Row:
    """One candidate under one setting; the speed-up and the error are against the first candidate of that setting."""

    position: int
    label: str
    threads: int
    setting: Setting
    timing: Timing
    executed: str
    speedup: tuple[float, float, float] | None
    relative_error: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        low, high = self.timing.quartiles
        return {
            "model": self.label,
            "threads": self.threads,
            "hyperplanes": self.setting.hyperplanes,
            "level": self.setting.level,
            "median_ms": self.timing.median,
            "quartiles_ms": [low, high],
            "milliseconds": [float(value) for value in self.timing.milliseconds],
            "executed": self.executed,
            "native_calls": self.timing.native_calls,
            "speedup": self.speedup[0] if self.speedup else None,
            "speedup_range": list(self.speedup[1:]) if self.speedup else None,
            "relative_error": self.relative_error,
        }


def run_plan(
    candidates: Sequence[Candidate],
    feeds: Sequence[Feeds],
    threads: Sequence[int],
    settings: Sequence[Setting],
    runs: int,
    warm_up: int,
    progress: Callable[[str], None],
) -> list[Row]:
    """Time every candidate under every number of threads and every setting.

    Raises:
        CandidateError: a model does not load or run.
        MissingDependencyError: as `workers`.
        OptionError: a setting steers what no candidate has.
    """
    rows: list[Row] = []
    for count in threads:
        with workers(candidates, count) as started:
            _check_settings(settings, started)
            for setting in settings:
                progress(f"{count} thread{'s' if count > 1 else ''}, {setting}")
                steered = [
                    {**own, **setting.feeds(worker.opened.steering)} for own, worker in zip(feeds, started, strict=True)
                ]
                rows += _rows(started, interleave(started, steered, runs, warm_up), count, setting)
    return rows


def _rows(started: Sequence[Worker], timings: Sequence[Timing], threads: int, setting: Setting) -> list[Row]:
    first = timings[0]
    return [
        Row(
            position,
            worker.candidate.label,
            threads,
            setting,
            timing,
            _executed(worker, timing),
            speedup(first, timing) if position else None,
            relative_error(first.outputs, timing.outputs) if position else None,
        )
        for position, (worker, timing) in enumerate(zip(started, timings, strict=True))
    ]


def _executed(worker: Worker, timing: Timing) -> str:
    """Which implementation ran, as the library's own counter tells."""
    if timing.native_calls:
        return f"native ({worker.opened.kernels})"
    return "fallback body" if worker.opened.steering else "stock"


def _check_settings(settings: Sequence[Setting], started: Sequence[Worker]) -> None:
    steering = frozenset().union(*(worker.opened.steering for worker in started))
    for setting in settings:
        for value, name in ((setting.hyperplanes, HYPERPLANES_INPUT), (setting.level, LEVEL_INPUT)):
            if value is not None and name not in steering:
                has = f"but {', '.join(sorted(steering))}" if steering else "because none has a HasteConv"
                raise OptionError(f"no model here has the steering input {name}, {has}")
