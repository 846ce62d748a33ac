"""The ONNX Runtime binding of the CUDA kernels.

Two things can be checked without a GPU. The host library registers the CUDA provider's operators, loops underneath,
in the CPU provider's place: attributes, constants, steering, residuals, layouts and errors go through the same code.
And libhaste_ops_cuda.so must load and run on the CPU where there is no GPU, since it replaces libhaste_ops.so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda.target import Target, cuda_library

ROOT = Path(__file__).resolve().parents[2]


def run_operator_tests(library: Path) -> None:
    """The tests of the binding with another library, in a process of their own: one domain, one library."""
    names = ("onnxruntime", "onnxruntime_refusals", "onnxruntime_helpers", "correction")
    files = [f"tests/operator/test_{name}.py" for name in names]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "not gain_and_bias", *files],
        cwd=ROOT,
        env={**os.environ, "HASTE_OPS_LIBRARY": str(library)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_binding_of_the_cuda_kernels(host_library: Target) -> None:
    run_operator_tests(Path(host_library.lib._name))


def test_cuda_library_runs_on_the_cpu() -> None:
    path = cuda_library()
    if path is None:
        pytest.skip("libhaste_ops_cuda.so is not built (it needs nvcc)")
    run_operator_tests(path)
