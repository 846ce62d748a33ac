"""The machine that numbers were taken on, as far as it explains them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import onnxruntime


def machine() -> dict[str, str | int]:
    """Processor, usable cores, system, and the versions that matter, as JSON values."""
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": str(onnxruntime.__version__),
    }


def processor_name() -> str:
    """Name of the processor as Linux gives it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
