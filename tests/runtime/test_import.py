"""What importing the package costs and drags in. Measured in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys

from .conftest import ROOT

LIMIT_US = 50_000


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True)


def own_import_time() -> int:
    """Microseconds that `import runtime_ops` takes once NumPy and ONNX Runtime are imported."""
    done = python("-X", "importtime", "-c", "import numpy, onnxruntime, runtime_ops")
    lines = [line for line in done.stderr.splitlines() if line.rstrip().endswith("| runtime_ops")]
    return int(lines[0].split("|")[1])


def test_import_costs_under_50_ms() -> None:
    # The best of three: other work on the machine can only add.
    assert min(own_import_time() for _ in range(3)) < LIMIT_US


def test_imports_nothing_but_numpy_onnxruntime_and_the_standard_library() -> None:
    script = (
        "import sys, numpy, onnxruntime; before = set(sys.modules); import runtime_ops; "
        "print(' '.join({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    new = set(python("-c", script).stdout.split())
    assert new - set(sys.stdlib_module_names) <= {"runtime_ops", "numpy", "onnxruntime"}
