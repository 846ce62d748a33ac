"""One engine in its own process, started by coordinator.Worker; talks over a socket, so that an engine may print."""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from tools.engines import adapters
from tools.engines.adapters.base import Array, Job, NotAvailableError, Outputs, Runner


@dataclass(frozen=True)
class Ready:
    """The engine's points can be asked for. `seconds` is what converting and loading took."""

    labels: tuple[str, ...]
    version: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """The engine cannot do what was asked; `reason` is for the table."""

    reason: str


@dataclass(frozen=True)
class Ask:
    """Run input `index` at a point: `warm_ups` untimed runs, then a timed one."""

    label: str
    index: int
    warm_ups: int


@dataclass(frozen=True)
class Sample:
    """One timed inference: wall seconds, processor seconds of all threads of the process, and what came out."""

    seconds: float
    cpu_seconds: float
    outputs: Outputs


def measure(runner: Runner, x: Array, warm_ups: int) -> Sample:
    """Time one inference."""
    for _ in range(warm_ups):
        runner(x)
    cpu, start = time.process_time(), time.perf_counter()
    outputs = runner(x)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return Sample(seconds, cpu_seconds, outputs)


def _reason(error: Exception) -> str:
    traceback.print_exc()  # to the worker's log
    if isinstance(error, NotAvailableError):
        return str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


def _open(name: str, job: Job) -> tuple[dict[str, Runner], str]:
    engine = adapters.load(name)
    return engine.prepare(job), engine.version()


def serve(name: str, connection: Connection) -> None:
    """Answer Job with Ready or Failed, then every Ask with Sample or Failed, until the other end closes."""
    try:
        job: Job = connection.recv()
        inputs: Array = np.load(connection.recv())
        start = time.perf_counter()
        try:
            runners, version = _open(name, job)
        except Exception as error:  # any failure of an engine is a line of the table
            connection.send(Failed(_reason(error)))
            return
        connection.send(Ready(tuple(runners), version, time.perf_counter() - start))
        while True:
            ask: Ask = connection.recv()
            try:
                connection.send(measure(runners[ask.label], inputs[ask.index], ask.warm_ups))
            except Exception as error:
                connection.send(Failed(_reason(error)))
    except EOFError:
        return


if __name__ == "__main__":
    # The classes that travel must be those of the importable module, not of __main__.
    from tools.engines import worker

    worker.serve(sys.argv[1], Connection(int(sys.argv[2])))
