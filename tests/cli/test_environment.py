"""Exit code 3, for what the environment asks and the library lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import haste


@pytest.fixture(autouse=True)
def _isa(monkeypatch: pytest.MonkeyPatch, compressed: Path) -> None:  # compressed before the variable is wrong
    monkeypatch.setenv("HASTE_ISA", "sse9")


def test_bench_names_the_instruction_sets(compressed: Path) -> None:
    result = haste("bench", compressed, "--runs", "1")
    assert result.exit_code == 3
    assert "HASTE_ISA=sse9" in result.output
    assert "generic" in result.output


def test_bench_of_a_plain_model_does_not_mind(stock: Path) -> None:
    assert haste("bench", stock, "--runs", "1").exit_code == 0


def test_export_checks_before_it_writes(stock: Path, tmp_path: Path) -> None:
    result = haste("export", stock, tmp_path / "out.onnx", "--check", "1")
    assert result.exit_code == 3
    assert "HASTE_ISA=sse9" in result.output
    assert not (tmp_path / "out.onnx").exists()
