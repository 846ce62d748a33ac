"""Times compressed models against stock, in turns, so that both meet the same machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import runtime_ops
from haste_export.evaluate.engine import native_session, session_options

Feeds = Mapping[str, npt.NDArray[Any]]
_WARM_UP = 2
_CALM, _TRIES = 0.05, 5
"""A measurement with more unrest is made again, this often at most, and the calmest one counts."""
_PAUSE = 1.0
"""Seconds before it is made again: what disturbed it may have ended by then."""


class Stopwatch:
    """Knows stock and one batch.

    Attributes:
        fastest: milliseconds that stock took in the calmest measurement so far, its median.
    """

    def __init__(self, stock: onnx.ModelProto, feeds: Feeds, threads: int, fastest: float = math.inf) -> None:
        """Open stock, which ONNX Runtime optimises as far as it can."""
        self._stock = runtime_ops.Session(stock.SerializeToString(), options=session_options(threads), library=False)
        self._feeds, self._threads = feeds, threads
        self.fastest = fastest

    def measure(self, compressed: onnx.ModelProto, levels: int, repeats: int) -> Iterator[dict[str, float]]:
        """Time of levels 1, 2, ... relative to stock: medians of `repeats` quotients, each of two neighbouring runs."""
        ours = native_session(compressed, self._threads)
        for level in range(1, levels + 1):
            ours.level = level
            for _ in range(_WARM_UP):
                ours.run(self._feeds)
                self._stock.run(self._feeds)
            tried = [self._compare(ours, repeats)]
            while self._unrest(tried[-1]) > _CALM and len(tried) < _TRIES:
                time.sleep(_PAUSE)
                tried.append(self._compare(ours, repeats))
            yield min(tried, key=self._unrest)

    def _unrest(self, numbers: Mapping[str, float]) -> float:
        """How far the middle half of the quotients spreads, or how much slower stock was than it can be.

        The latter because a program on the same physical core slows both all the time, and not alike.
        """
        return max(numbers["spread"], numbers["stock ms"] / self.fastest - 1)

    def _compare(self, ours: runtime_ops.Session, repeats: int) -> dict[str, float]:
        pairs = np.array([(self._seconds(ours), self._seconds(self._stock)) for _ in range(repeats)])
        low, middle, high = np.quantile(pairs[:, 0] / pairs[:, 1], (0.25, 0.5, 0.75))
        stock = float(np.median(pairs[:, 1]) * 1e3)
        self.fastest = min(self.fastest, stock)
        return {"time": float(middle), "spread": float(high - low), "stock ms": stock}

    def _seconds(self, session: runtime_ops.Session) -> float:
        start = time.perf_counter()
        session.run(self._feeds)
        return time.perf_counter() - start
