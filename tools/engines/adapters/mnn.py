"""MNN's CPU backend, at its precisions "high" and "normal" (both are float32 arithmetic on x86)."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import MNN
import numpy as np

from tools.engines.adapters.base import Array, Job, Outputs, Runner

# The converter is called below its command line, which tries to install and reach a usage-reporting client;
# in a process of its own, because it ends the process on errors.
_CONVERT = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"


def _convert(job: Job, target: Path) -> None:
    options = ["-f", "ONNX", "--modelFile", str(job.model), "--MNNModel", str(target), "--bizCode", "benchmark"]
    done = subprocess.run([sys.executable, "-c", _CONVERT, *options], stdout=sys.stderr, check=False)
    if done.returncode or not target.exists():
        raise RuntimeError(f"MNNConvert failed with exit code {done.returncode}")


class _Mnn:
    def __init__(self, precision: str) -> None:
        self._precision = precision

    def version(self) -> str:
        return f"MNN {importlib.metadata.version('MNN')}"

    def prepare(self, job: Job) -> dict[str, Runner]:
        target = job.cache / "model.mnn"
        if not target.exists():
            _convert(job, target)
        config = {"backend": "CPU", "numThread": job.threads, "precision": self._precision}
        network = MNN.nn.load_module_from_file(
            str(target),
            [job.input_name],
            list(job.output_names),
            runtime_manager=MNN.nn.create_runtime_manager((config,)),
            shape_mutable=False,
        )
        # A converted ONNX model keeps ONNX's shapes: NCHW here means "as declared", whatever the axes are.
        layout = MNN.expr.data_format.NCHW

        def run(x: Array) -> Outputs:
            results = network.forward([MNN.expr.const(x, list(x.shape), layout)])
            return [np.array(MNN.expr.convert(y, layout).read(), dtype=np.float32) for y in results]

        return {f"MNN {self._precision}": run}


def engine(option: str) -> _Mnn:
    """Return the adapter for a precision, "high" or "normal"."""
    return _Mnn(option)
