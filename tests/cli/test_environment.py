"""Exit code 3, for what the environment asks and the library lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from haste_export.data import sample_file, sample_model

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


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "--data", sample_file(), "--limit", 16),
        ("tune", "--data-free"),
        ("report", "--limit", 16),
        ("export", "--only-faster"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_whatever_runs_a_compressed_model_ends_with_3(tmp_path: Path, arguments: tuple[object, ...]) -> None:
    name, *rest = arguments
    model = tmp_path / "only" / "sample.onnx"
    model.parent.mkdir()
    model.write_bytes(sample_model().read_bytes())
    result = haste(name, model, *rest)
    assert result.exit_code == 3, result.output
    assert "HASTE_ISA=sse9" in result.output
    assert list(model.parent.iterdir()) == [model], "nothing is written"


def test_export_checks_before_it_writes(stock: Path, tmp_path: Path) -> None:
    result = haste("export", stock, tmp_path / "out.onnx", "--check", "1")
    assert result.exit_code == 3
    assert "HASTE_ISA=sse9" in result.output
    assert not (tmp_path / "out.onnx").exists()
