"""What every engine's adapter looks like."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Outputs = list[Array]
Runner = Callable[[Array], Outputs]


class NotAvailableError(Exception):
    """The engine cannot run this job here; the message is the reason that the table shows."""


@dataclass(frozen=True)
class Job:
    """One model to be run by one engine.

    Attributes:
        model: ONNX file, float32, all shapes static, one image per run.
        input_name: its only input.
        input_shape: shape of that input.
        output_names: what a runner returns, in this order.
        calibration: .npy file, float32 [n, *input_shape], for engines that need example inputs to convert.
        cache: folder for converted models, kept from one thread count to the next; each engine uses its own file names.
        threads: threads of one inference.
        hyperplanes: L of each point wanted from ours.
    """

    model: Path
    input_name: str
    input_shape: tuple[int, ...]
    output_names: tuple[str, ...]
    calibration: Path
    cache: Path
    threads: int
    hyperplanes: tuple[int, ...] = ()


class Engine(Protocol):
    """An inference engine."""

    def version(self) -> str:
        """Return the versions that matter, for the table's header."""

    def prepare(self, job: Job) -> dict[str, Runner]:
        """Convert and load the model.

        Returns:
            The points of this engine, label -> runner. Runners may share a session; they are never called at once.

        Raises:
            NotAvailableError: a known reason why this cannot run here. Any other exception is reported as a failure.
        """


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment variables by which the engines' thread pools learn their size when they are loaded.

    OpenMP (ncnn), TVM's own pool, and the BLAS under NumPy. The others take it as an option.
    """
    names = ("OMP_NUM_THREADS", "TVM_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads))}
