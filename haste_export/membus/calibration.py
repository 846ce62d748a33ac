"""Does a counter count what it should? Streams of known size say, and give the bytes that one count stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from haste_export.errors import MissingDependencyError
from haste_export.membus.sources import Source

LEAST_R_SQUARED = 0.99
WIDEST_SPREAD = 0.10  # interquartile range of bytes per count, relative to the median
PLAUSIBLE = (0.5, 4.0)  # calibrated over nominal bytes per count; a factor of two is a bus of another width
COPY_FACTORS = (1.6, 3.4)  # bytes seen per byte copied: 2, or 3 where the target is fetched before it is overwritten

# Runs the stream of that many bytes and returns the counts of the source's events.
Meter = Callable[[str, int], Sequence[int]]


@dataclass(frozen=True)
class Fit:
    """A line through the origin, bytes over counts."""

    bytes_per_count: float
    r_squared: float
    spread: float

    def good(self, nominal: float) -> bool:
        """Whether the counter tracks the bytes."""
        low, high = PLAUSIBLE
        plausible = low * nominal <= self.bytes_per_count <= high * nominal
        return plausible and self.r_squared >= LEAST_R_SQUARED and self.spread <= WIDEST_SPREAD


@dataclass(frozen=True)
class Calibration:
    """What one count of each event stands for on this machine, and how a copy confirms it."""

    reads: Fit
    writes: Fit | None
    copy_factor: float

    def total(self, counts: Sequence[int]) -> float:
        """Bytes over the bus for the counts of a source's events."""
        moved = counts[0] * self.reads.bytes_per_count
        return moved + counts[1] * self.writes.bytes_per_count if self.writes else moved


def fit(sizes: Sequence[int], counts: Sequence[int]) -> Fit:
    """Least squares through the origin.

    Args:
        sizes: bytes moved, one per sample.
        counts: what the counter said.
    """
    x: NDArray[np.float64] = np.asarray(counts, dtype=np.float64)
    y: NDArray[np.float64] = np.asarray(sizes, dtype=np.float64)
    if not x.any() or (x < 0).any():
        return Fit(0.0, 0.0, float("inf"))
    slope = float(x @ y / (x @ x))
    residual = float(((y - slope * x) ** 2).sum())
    total = float(((y - y.mean()) ** 2).sum())
    ratios = y / np.maximum(x, 1)
    low, middle, high = (float(q) for q in np.quantile(ratios, (0.25, 0.5, 0.75)))
    return Fit(slope, 1 - residual / total if total else 0.0, (high - low) / middle)


def calibrate(source: Source, meter: Meter, last_level: int, repeats: int = 5) -> Calibration:
    """Stream known amounts and compare.

    Args:
        source: the counters.
        meter: runs a stream and counts.
        last_level: size of the last cache in bytes; streams are 8 to 32 times as long.
        repeats: samples per size.

    Raises:
        MissingDependencyError: the counters do not track the streams; says which and how badly.
    """
    sizes = [factor * last_level for factor in (8, 16, 24, 32) for _ in range(repeats)]
    reading = [meter("read", size) for size in sizes]
    reads = fit(sizes, [counts[0] for counts in reading])
    if not reads.good(source.reads.bytes_per_count):
        raise MissingDependencyError(_refusal(source.reads.name, "read", reads, source.reads.bytes_per_count))
    writes = None
    if source.writes is not None:
        writing = [meter("write", size) for size in sizes]
        writes = fit(sizes, [counts[1] for counts in writing])
        if not writes.good(source.writes.bytes_per_count):
            raise MissingDependencyError(_refusal(source.writes.name, "written", writes, source.writes.bytes_per_count))
    calibration = Calibration(reads, writes, 0.0)
    copies = [calibration.total(meter("copy", size)) / size for size in sizes]
    factor = float(np.median(copies))
    low, high = COPY_FACTORS
    if writes is not None and not low <= factor <= high:
        raise MissingDependencyError(
            f"counters refused: a copy of B bytes moves 2 B or 3 B, but they saw {factor:.2f} B"
        )
    return Calibration(reads, writes, factor)


def _refusal(event: str, direction: str, found: Fit, nominal: float) -> str:
    return (
        f"counter {event} refused: it does not track bytes {direction} (one count was {found.bytes_per_count:.1f} "
        f"bytes, expected about {nominal:.0f}; R² {found.r_squared:.3f}, spread {found.spread:.0%})"
    )
