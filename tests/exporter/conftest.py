"""Fixtures of the exporter's tests."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import runtime_ops
from tests.exporter.models import TWO_CONVS, filters, text_model


@pytest.fixture(scope="session")
def has_library() -> bool:
    """Whether the op library is built; tests then run with it as well as without."""
    try:
        runtime_ops.library_path()
    except runtime_ops.LibraryNotFoundError:
        return False
    return True


@pytest.fixture
def model() -> onnx.ModelProto:
    """Two convolutions, 16 and 64 filters on [1,16,9,8], the first of which stays by default."""
    return text_model(TWO_CONVS, {"w": filters(16, 16, 3, 3), "v": filters(64, 16, 3, 3)})


@pytest.fixture
def path(model: onnx.ModelProto, tmp_path: Path) -> Path:
    """A file of that model, alone in its folder."""
    file = tmp_path / "net.onnx"
    onnx.save(model, file)
    return file
