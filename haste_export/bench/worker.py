"""The process that times one candidate.

Each candidate lives in a process of its own: the spinning threads of one session's pool, its heap and its share of the
library's run counter cannot leak into the other's numbers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Candidate:
    """A model file and how it is run: with the op library at `library`, or without when that is None.

    `cuda`: on ONNX Runtime's CUDA provider; the library is then the one with CUDA kernels.
    """

    label: str
    path: str
    library: str | None
    cuda: bool = False


@dataclass(frozen=True)
class Turn:
    """Order to run the model: one run that is not timed, then `runs` that are."""

    feeds: Mapping[str, npt.NDArray[Any]]
    runs: int
    want_outputs: bool = False


@dataclass(frozen=True)
class TurnResult:
    """Milliseconds of every run, native HasteConv calls among all runs, and the outputs if they were asked for."""

    milliseconds: list[float]
    native_calls: int
    outputs: list[npt.NDArray[Any]] | None


@dataclass(frozen=True)
class Opened:
    """What the worker found when it loaded the model: steering input names, and what the library's kernels are for.

    That is an instruction set or "CUDA"; "" without library.
    """

    steering: frozenset[str]
    kernels: str


@dataclass(frozen=True)
class Failure:
    """Why the worker cannot go on, in ONNX Runtime's words; `missing`: because of what the environment lacks."""

    message: str
    missing: bool = False


def serve(connection: Connection, candidate: Candidate, threads: int) -> None:
    """Load the candidate, answer Opened, then a TurnResult for every Turn until None comes; or Failure."""
    from runtime_ops import ProviderError

    try:
        session, opened = _open(candidate, threads)
        connection.send(opened)
        while (turn := connection.recv()) is not None:
            connection.send(_take(session, candidate, turn))
    except EOFError:  # the parent is gone
        return
    except ProviderError as error:
        connection.send(Failure(str(error), missing=True))
    except Exception as error:  # whatever ONNX Runtime raises; it must reach the parent, which waits for an answer
        connection.send(Failure(f"{candidate.label}: {type(error).__name__}: {error}"))


def _open(candidate: Candidate, threads: int) -> tuple[Any, Opened]:
    import onnxruntime

    from runtime_ops import native
    from runtime_ops.session import Session

    if candidate.cuda and hasattr(onnxruntime, "preload_dlls"):
        with redirect_stdout(sys.stderr):  # it prints, and stdout may be a program's
            onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is sent to the parent, which tells it
    session = Session(candidate.path, options=options, library=candidate.library or False, cuda=candidate.cuda)
    if candidate.library is None:
        return session, Opened(session.steering, "")
    return session, Opened(session.steering, "CUDA" if candidate.cuda else native.isa(candidate.library))


def _take(session: Any, candidate: Candidate, turn: Turn) -> TurnResult:
    from runtime_ops import native

    run = session.inference.run
    before = native.run_count(candidate.library) if candidate.library else 0
    outputs = run(None, turn.feeds)
    milliseconds = []
    for _ in range(turn.runs):
        start = time.perf_counter_ns()
        run(None, turn.feeds)
        milliseconds.append((time.perf_counter_ns() - start) / 1e6)
    calls = native.run_count(candidate.library) - before if candidate.library else 0
    kept = [np.asarray(output) for output in outputs] if turn.want_outputs else None
    return TurnResult(milliseconds, calls, kept)
