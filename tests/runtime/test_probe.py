"""The embedded model is the one that its tool builds."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import onnx
import pytest

from runtime_ops.probe import PROBE_MODEL

from .conftest import ROOT


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_probe_model", ROOT / "tools" / "make_probe_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bytes_are_up_to_date(tool: ModuleType) -> None:
    assert onnx.load_model_from_string(PROBE_MODEL) == tool.build()


def test_passes_the_checker() -> None:
    onnx.checker.check_model(onnx.load_model_from_string(PROBE_MODEL), full_check=True)
