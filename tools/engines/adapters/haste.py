"""Ours: the compressed model in ONNX Runtime with the op library, one session, L fed with every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

import haste_export
import runtime_ops
from tools.engines.adapters.base import Array, Job, NotAvailableError, Outputs, Runner
from tools.engines.adapters.onnxruntime_f32 import session_options

STEERING = runtime_ops.session.HYPERPLANES_INPUT


def compressed(source: Path, target: Path) -> Path:
    """Compress with the exporter's defaults, unless the target is there already.

    Raises:
        NotAvailableError: the exporter left every layer alone.
    """
    if not target.exists():
        _, report = haste_export.compress_with_report(source, target)
        if not report.rewritten:
            target.unlink()
            raise NotAvailableError("haste-export rewrites no layer of this model")
    return target


def open_native(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a session with the op library registered, which leaves the fallback bodies no way to run.

    Raises:
        NotAvailableError: the library has not been built.
    """
    try:
        return runtime_ops.Session(path, options=session_options(threads)).inference
    except runtime_ops.LibraryNotFoundError as error:
        raise NotAvailableError(str(error)) from error


class _Haste:
    def version(self) -> str:
        return f"haste-export {haste_export.__version__}, {runtime_ops.isa()}, onnxruntime {onnxruntime.__version__}"

    def prepare(self, job: Job) -> dict[str, Runner]:
        session = open_native(compressed(job.model, job.cache / "haste.onnx"), job.threads)

        def point(hyperplanes: int) -> Runner:
            steering = np.array(hyperplanes, dtype=np.int64)

            def run(x: Array) -> Outputs:
                return list(session.run(job.output_names, {job.input_name: x, STEERING: steering}))

            return run

        return {label(hyperplanes): point(hyperplanes) for hyperplanes in job.hyperplanes}


def label(hyperplanes: int) -> str:
    """Return what tables call a setting."""
    return f"haste L={hyperplanes}" if hyperplanes > 0 else "haste dense"


def engine(_option: str) -> _Haste:
    """Return the adapter."""
    return _Haste()
