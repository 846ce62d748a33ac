"""What was measured of a model, and how it is kept as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Time:
    """Stock, and ours at one L, in turns on one number of threads.

    Attributes:
        threads: of either.
        hyperplanes: L; None where stock alone was timed.
        stock_ms: median.
        haste_ms: median.
        range: lowest and highest speed-up of a pair of turns.
    """

    threads: int
    hyperplanes: int | None
    stock_ms: float
    haste_ms: float | None = None
    range: tuple[float, float] | None = None

    @property
    def speedup(self) -> float | None:
        """How many times as fast as stock."""
        return self.stock_ms / self.haste_ms if self.haste_ms else None


@dataclass(frozen=True)
class Result:
    """One model.

    Attributes:
        name, what, requirement, file, shape, fed: as in models.Model; `fed` is its picture and its values.
        convs: convolutions of the model.
        rewritten: those that became HasteConv.
        share: their part of the convolutions' FLOPs; None where a size is not known.
        pays: whether haste-export expects merging to be faster than dense mode; None if nothing was rewritten.
        times: one per number of threads and L.
        errors: ‖y − y₀‖ / ‖y₀‖ of the first output, by L, the median over the inputs.
        date: of the measurement.
        busy: cores that other programs kept busy before or after it, the larger.
    """

    name: str
    what: str
    requirement: str
    file: str
    shape: tuple[int, ...]
    fed: str
    convs: int
    rewritten: int
    share: float | None
    pays: bool | None
    times: tuple[Time, ...]
    errors: dict[int, float]
    date: str
    busy: float


def write(path: Path, header: dict[str, str], results: list[Result]) -> None:
    """Keep the results."""
    content = {"header": header, "models": [asdict(result) for result in results]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Result]:
    """Results of an earlier run by name; none if there is no such file."""
    if not path.exists():
        return {}
    return {entry["name"]: _result(entry) for entry in json.loads(path.read_text(encoding="utf-8"))["models"]}


def _result(entry: dict[str, Any]) -> Result:
    times = tuple(Time(**{**time, "range": tuple(time["range"]) if time["range"] else None}) for time in entry["times"])
    errors = {int(count): error for count, error in entry["errors"].items()}
    return Result(**{**entry, "shape": tuple(entry["shape"]), "times": times, "errors": errors})
