"""Times compressed models against stock, in turns, so that both meet the same machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import runtime_ops
from haste_export.evaluate.engine import native_session, session_options

Feeds = Mapping[str, npt.NDArray[Any]]
_WARM_UP = 2


class Stopwatch:
    """Knows stock and one batch."""

    def __init__(self, stock: onnx.ModelProto, feeds: Feeds, threads: int) -> None:
        """Open stock, which ONNX Runtime optimises as far as it can."""
        self._stock = runtime_ops.Session(stock.SerializeToString(), options=session_options(threads), library=False)
        self._feeds, self._threads = feeds, threads

    def measure(self, compressed: onnx.ModelProto, repeats: int) -> dict[str, float]:
        """Time of level 1 relative to stock: the median of `repeats` quotients, each of two neighbouring runs."""
        ours = native_session(compressed, self._threads)
        ours.level = 1
        for _ in range(_WARM_UP):
            ours.run(self._feeds)
            self._stock.run(self._feeds)
        pairs = np.array([(self._seconds(ours), self._seconds(self._stock)) for _ in range(repeats)])
        quotients = pairs[:, 0] / pairs[:, 1]
        low, middle, high = np.quantile(quotients, (0.25, 0.5, 0.75))
        return {"time": float(middle), "spread": float(high - low), "stock ms": float(np.median(pairs[:, 1]) * 1e3)}

    def _seconds(self, session: runtime_ops.Session) -> float:
        start = time.perf_counter()
        session.run(self._feeds)
        return time.perf_counter() - start
