"""Runs a compressed model over a data set and says how it did: quality against stock, compression per layer, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

import runtime_ops
from haste_export.contract import STATS_LENGTH, STATS_PREFIX
from haste_export.errors import MissingDependencyError
from haste_export.evaluate.dataset import Batch, DataError, Dataset
from haste_export.evaluate.metrics import Quality, QualityMeter
from haste_export.instrument import instrument

Array = npt.NDArray[Any]
Progress = Callable[[int], None]
"""Called with the number of samples that are done since the last call."""

_TIMED_BATCHES = 8
"""Batches at the start of a pass for which stock runs again, in turns with the compressed model, to be timed."""


class NativeKernelsMissingError(MissingDependencyError):
    """The compressed model ran its exact fallback bodies, so there is nothing to be measured."""


@dataclass(frozen=True)
class Outcome:
    """One pass of a compressed model over a data set.

    Attributes:
        quality: how its outputs compare with stock's.
        stats: layer name -> the operator's statistics [8], summed over all samples.
        milliseconds: median time per sample, compressed.
        stock_milliseconds: the same for stock, measured in turns with it.
    """

    quality: Quality
    stats: Mapping[str, npt.NDArray[np.float64]]
    milliseconds: float
    stock_milliseconds: float


def session_options(threads: int = 0) -> onnxruntime.SessionOptions:
    """Options for a session that stays quiet about steering inputs; 0 threads is ONNX Runtime's own choice."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return options


def native_session(model: onnx.ModelProto, threads: int = 0) -> runtime_ops.Session:
    """A session with the op library. Raises NativeKernelsMissingError when it is not there."""
    try:
        return runtime_ops.Session(model.SerializeToString(), options=session_options(threads))
    except runtime_ops.LibraryNotFoundError as error:
        raise NativeKernelsMissingError(str(error)) from error


class Judge:
    """Knows the stock model's answers on a data set, and compares compressed models with them."""

    def __init__(self, stock: onnx.ModelProto, dataset: Dataset, threads: int = 0, progress: Progress | None = None):
        """Run stock once over the data set. A compressed model is its own stock, run dense by its fallback bodies."""
        self.dataset = dataset
        self.threads = threads
        self._stock = runtime_ops.Session(stock.SerializeToString(), options=session_options(threads), library=False)
        self._answers = []
        meter = QualityMeter(dataset.metric if dataset.labelled else None)
        for batch in dataset.batches():
            outputs = _run_stock(self._stock, batch)
            self._answers.append(outputs)
            meter.add(outputs, outputs, batch.labels)
            if progress is not None:
                progress(len(batch))
        self.stock_quality: Quality = meter.result()

    def open(self, compressed: onnx.ModelProto) -> runtime_ops.Session:
        """A session of a compressed model, with statistics as further outputs, for `judge`.

        Raises:
            NativeKernelsMissingError: the op library is not there.
        """
        return native_session(instrument(compressed), self.threads)

    def judge(
        self,
        session: runtime_ops.Session,
        progress: Progress | None = None,
        feeds: Mapping[str, Array] | None = None,
    ) -> Outcome:
        """One pass, steered as the session is now; `feeds` goes into every run beside the data.

        Raises:
            NativeKernelsMissingError: the fallback bodies ran.
        """
        names = [node.name for node in session.inference.get_outputs()]
        statistics = {name: np.zeros(STATS_LENGTH) for name in names if name.startswith(STATS_PREFIX)}
        meter = QualityMeter(self.dataset.metric if self.dataset.labelled else None)
        times: list[float] = []
        stock_times: list[float] = []
        steering = dict(feeds or {})
        session.run({**next(self.dataset.batches()).feeds, **steering})  # the first run allocates
        for index, (batch, exact) in enumerate(zip(self.dataset.batches(), self._answers, strict=True)):
            if index < _TIMED_BATCHES:
                stock_times.append(_milliseconds(self._stock, batch.feeds)[0] / len(batch))
            elapsed, outputs = _milliseconds(session, {**batch.feeds, **steering})
            times.append(elapsed / len(batch))
            for name, value in zip(names, outputs, strict=True):
                if name in statistics:
                    statistics[name] += value
            meter.add(exact, outputs, batch.labels)
            if progress is not None:
                progress(len(batch))
        stats = {name.removeprefix(STATS_PREFIX): value for name, value in statistics.items()}
        if stats and not any(value.any() for value in stats.values()):
            raise NativeKernelsMissingError("the exact fallback ran instead of the native kernels: see `haste doctor`")
        return Outcome(meter.result(), stats, float(np.median(times)), float(np.median(stock_times)))


def _run_stock(session: runtime_ops.Session, batch: Batch) -> list[Array]:
    """The first run of the model on the user's data, which may not fit it."""
    try:
        return session.run(batch.feeds)
    except Exception as error:  # ONNX Runtime's own kinds have no common base
        raise DataError(f"the model does not run on this data: {error}") from error


def _milliseconds(session: runtime_ops.Session, feeds: Mapping[str, Array]) -> tuple[float, list[Array]]:
    start = time.perf_counter()
    outputs = session.run(feeds)
    return (time.perf_counter() - start) * 1e3, outputs
