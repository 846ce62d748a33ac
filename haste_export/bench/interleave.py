"""Takes turns between candidates, and summarises what each of them needed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import numpy.typing as npt

from haste_export.bench.worker import Candidate, Failure, Opened, Turn, TurnResult, serve
from haste_export.errors import HasteError, MissingDependencyError
from haste_export.interrupts import held_back

# ONNX Runtime's idle threads spin for a while after a run; the other candidate waits until they sleep.
PAUSE_S = 0.02
TURNS = 5


class CandidateError(HasteError):
    """A model could not be loaded or run; the message names it and gives ONNX Runtime's reason."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one candidate: every timed run, grouped by turns."""

    turns: tuple[tuple[float, ...], ...]
    native_calls: int
    outputs: tuple[npt.NDArray[Any], ...]

    @property
    def milliseconds(self) -> npt.NDArray[np.float64]:
        """Every timed run, in order."""
        return np.concatenate([np.asarray(turn, np.float64) for turn in self.turns])

    @property
    def median(self) -> float:
        """Median over all runs."""
        return float(np.median(self.milliseconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile over all runs: the spread that is reported."""
        low, high = np.percentile(self.milliseconds, [25, 75])
        return float(low), float(high)


class Worker:
    """The parent's end of a process that times one candidate."""

    def __init__(self, candidate: Candidate, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.candidate = candidate
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, candidate, threads), daemon=True)
        try:
            _start(self._process)
            theirs.close()
            self.opened: Opened = self._receive(Opened)
        except KeyboardInterrupt:
            self.kill()
            raise

    def take(self, turn: Turn) -> TurnResult:
        """Let it run."""
        self._connection.send(turn)
        result: TurnResult = self._receive(TurnResult)
        return result

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):  # it may have ended by itself
            self._connection.send(None)
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        if self._process.pid is not None:
            self._process.kill()
            self._process.join()

    def _receive(self, kind: type[Any]) -> Any:
        try:
            answer = self._connection.recv()
        except EOFError:
            self._process.join()
            raise CandidateError(
                f"{self.candidate.label}: its process ended with code {self._process.exitcode}"
            ) from None
        if isinstance(answer, Failure):
            raise (MissingDependencyError if answer.missing else CandidateError)(answer.message)
        assert isinstance(answer, kind)
        return answer


def _start(process: BaseProcess) -> None:
    """Start a process that an interrupt does not reach.

    Ctrl-C goes to every process of the terminal. Only this one answers it; a process inherits what is blocked. It is
    held back here too: a process that is cut off from what it shall do would print a traceback.
    """
    resource_tracker.ensure_running()  # it starts with the first process, and would lift the block
    with held_back():
        process.start()


@contextmanager
def workers(candidates: Sequence[Candidate], threads: int) -> Iterator[list[Worker]]:
    """Start a process per candidate with `threads` intra-op threads each, and end them afterwards.

    Raises:
        CandidateError: a model does not load.
        MissingDependencyError: a candidate is for CUDA, and ONNX Runtime's CUDA provider does not load.
    """
    with ExitStack() as stack:
        started = []
        for candidate in candidates:
            worker = Worker(candidate, threads)
            stack.callback(worker.close)
            started.append(worker)
        try:
            yield started
        except KeyboardInterrupt:
            for worker in started:
                worker.kill()
            raise


def interleave(
    started: Sequence[Worker], feeds: Sequence[Mapping[str, npt.NDArray[Any]]], runs: int, warm_up: int
) -> list[Timing]:
    """Time the candidates in turns, A B A B ..., and return a Timing for each.

    Args:
        started: the processes of the candidates.
        feeds: what each is fed.
        runs: timed runs of each candidate in all, spread over up to five turns; every turn begins with a run that is
            not timed, because the other candidate has had the caches meanwhile.
        warm_up: runs of each candidate before the first turn.

    Raises:
        CandidateError: a model does not run.
    """
    for worker, own in zip(started, feeds, strict=True):
        worker.take(Turn(own, max(warm_up - 1, 0)))
    results: list[list[TurnResult]] = [[] for _ in started]
    for index, size in enumerate(_turn_sizes(runs)):
        for worker, own, taken in zip(started, feeds, results, strict=True):
            time.sleep(PAUSE_S)
            taken.append(worker.take(Turn(own, size, want_outputs=index == 0)))
    return [_summary(taken) for taken in results]


def speedup(baseline: Timing, contender: Timing) -> tuple[float, float, float]:
    """Speed-up of the contender: ratio of the medians, and the lowest and highest ratio of a pair of turns."""
    pairs = [
        float(np.median(before) / np.median(after))
        for before, after in zip(baseline.turns, contender.turns, strict=True)
    ]
    return baseline.median / contender.median, min(pairs), max(pairs)


def relative_error(exact: Sequence[npt.NDArray[Any]], other: Sequence[npt.NDArray[Any]]) -> float | None:
    """||other - exact|| / ||exact|| over the first floating-point output of equal shape; None if there is none."""
    for left, right in zip(exact, other, strict=False):
        if left.shape == right.shape and np.issubdtype(left.dtype, np.floating):
            norm = float(np.linalg.norm(left.astype(np.float64)))
            difference = float(np.linalg.norm(right.astype(np.float64) - left.astype(np.float64)))
            return difference / norm if norm else None
    return None


def _turn_sizes(runs: int) -> list[int]:
    turns = min(TURNS, runs)
    return [runs // turns + (1 if index < runs % turns else 0) for index in range(turns)]


def _summary(taken: Sequence[TurnResult]) -> Timing:
    outputs = taken[0].outputs or []
    return Timing(
        tuple(tuple(turn.milliseconds) for turn in taken), sum(turn.native_calls for turn in taken), tuple(outputs)
    )
