"""What these tests share. They need the built library, NumPy and ONNX Runtime, and run with the oldest release too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import runtime_ops
from runtime_ops.library import LIBRARY_VARIABLE
from runtime_ops.probe import X_SHAPE

ROOT = Path(runtime_ops.__file__).resolve().parent.parent


@pytest.fixture
def library() -> str:
    """Path of the built library. A test that asks for it fails without: there is nothing to skip to."""
    return runtime_ops.library_path()


@pytest.fixture
def probe_input() -> npt.NDArray[np.float32]:
    """Input of the probe model."""
    return np.random.default_rng(3).standard_normal(X_SHAPE).astype(np.float32)


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the library untraceable; the value is where it is looked for."""
    missing = tmp_path / "nowhere" / "libhaste_ops.so"
    monkeypatch.setenv(LIBRARY_VARIABLE, str(missing))
    return missing
