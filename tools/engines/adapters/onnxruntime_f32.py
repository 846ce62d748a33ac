"""Stock ONNX Runtime, float32: the baseline."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from tools.engines.adapters.base import Array, Job, Outputs, Runner


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return ONNX Runtime's own defaults (all optimisations, spinning allowed) with the number of threads set."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return options


def open_session(path: Path, job: Job) -> Runner:
    """Return a runner for an ONNX file with the input and outputs of the job."""
    session = onnxruntime.InferenceSession(str(path), session_options(job.threads), providers=["CPUExecutionProvider"])

    def run(x: Array) -> Outputs:
        return list(session.run(job.output_names, {job.input_name: x}))

    return run


class _OnnxRuntime:
    def version(self) -> str:
        return f"onnxruntime {onnxruntime.__version__}"

    def prepare(self, job: Job) -> dict[str, Runner]:
        return {"ONNX Runtime f32": open_session(job.model, job)}


def engine(_option: str) -> _OnnxRuntime:
    """Return the adapter."""
    return _OnnxRuntime()
