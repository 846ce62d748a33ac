"""How models are timed against each other on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx

from haste_export.bench.inputs import Feeds, array_feeds, model_inputs, random_feeds, resolve_shape
from haste_export.contract import DOMAIN
from haste_export.errors import HasteError, MissingDependencyError
from haste_export.proto import is_compressed

RANDOM_INPUT = "random values"
_WARM_UP = 2
_LEAST_TURNS = 7
_MOST_TURNS = 200

Turns = list[npt.NDArray[np.float64]]


class NotRunnableError(HasteError):
    """ONNX Runtime cannot load or run the model; the message gives its reason."""


class Timer(Protocol):
    """Times models in turns."""

    def __call__(self, models: Sequence[onnx.ModelProto], feeds: Feeds, seconds: float) -> Turns:
        """Milliseconds of every model, one per turn; element i of all arrays belongs to the same turn."""


@dataclass(frozen=True)
class Timing:
    """How `select="measured"` measures.

    Attributes:
        threads: intra-op threads of a run.
        input_file: .npy or .npz with the model's inputs; random values if it is None.
        layer_seconds: time to spend on a layer.
        model_seconds: time to spend on a comparison of whole models.
        timer: what times; by default ONNX Runtime in this process.
        progress: called with what is measured next, and with how many comparisons are known to be left.
    """

    threads: int = 1
    input_file: Path | None = None
    layer_seconds: float = 0.3
    model_seconds: float = 3.0
    timer: Timer | None = None
    progress: Callable[[str, int], None] = field(default=lambda what, left: None)

    def feeds(self, model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> Feeds:
        """What the model is fed. Raises InputValueError if that does not fit, or a size is open."""
        inputs = model_inputs(model)
        if self.input_file is not None:
            return array_feeds(self.input_file, inputs)
        return random_feeds(inputs, {entry.name: resolve_shape(entry, shapes, None) for entry in inputs})


class SessionTimer:
    """Times in sessions of this process, which take turns, forwards and backwards.

    On one thread it is processor time that counts, so that programs that take the core away meanwhile do not.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._clock = time.thread_time if threads == 1 else time.perf_counter

    def __call__(self, models: Sequence[onnx.ModelProto], feeds: Feeds, seconds: float) -> Turns:
        """Raises NotRunnableError, and MissingDependencyError if the op library does not run."""
        sessions = [open_session(model, self._threads) for model in models]
        self._check_native(models, sessions, feeds)
        for session in sessions * (_WARM_UP - 1):
            session.run(None, feeds)
        turns: list[list[float]] = [[] for _ in models]
        began = time.monotonic()
        while len(turns[0]) < _LEAST_TURNS or (time.monotonic() - began < seconds and len(turns[0]) < _MOST_TURNS):
            order = range(len(models)) if len(turns[0]) % 2 == 0 else range(len(models) - 1, -1, -1)
            for index in order:
                start = self._clock()
                sessions[index].run(None, feeds)
                turns[index].append((self._clock() - start) * 1e3)
        return [np.asarray(values) for values in turns]

    @staticmethod
    def _check_native(models: Sequence[onnx.ModelProto], sessions: Sequence[Any], feeds: Feeds) -> None:
        from runtime_ops import native

        for model, session in zip(models, sessions, strict=True):
            before = native.run_count()
            try:
                session.run(None, feeds)
            except Exception as error:  # ONNX Runtime's errors share no base
                raise NotRunnableError(f"the model does not run: {error}") from error
            if native.run_count() == before and any(node.domain == DOMAIN for node in model.graph.node):
                raise MissingDependencyError("the op library does not run here: `haste doctor` says why")


def open_session(model: onnx.ModelProto, threads: int) -> Any:
    """A session with all optimisations, and with the op library if the model needs it.

    Raises MissingDependencyError if there is no library, and NotRunnableError if the model does not load.
    """
    import onnxruntime

    from runtime_ops import LibraryNotFoundError, register

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if is_compressed(model):
        try:
            register(options)
        except LibraryNotFoundError as error:
            raise MissingDependencyError(f"{error}\n`haste doctor` tells more.") from error
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base; ValueError from 2 GB on
        raise NotRunnableError(f"the model does not load: {error}") from error


def speedup(stock: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Median of the ratios of a turn: what slows a whole turn down cancels."""
    return float(np.median(stock / other))
