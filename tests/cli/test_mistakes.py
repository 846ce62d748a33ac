"""Mistakes in options, which end in a sentence and exit code 2 before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .conftest import haste


@pytest.mark.parametrize("command", ["export", "tune", "report", "eval"])
def test_a_model_needs_a_name(command: str, tmp_path: Path) -> None:
    needed = {"tune": ["--data-free"], "eval": ["--data", "x.npz"]}.get(command, [])
    for model, says in (("", "empty"), (tmp_path, "is a directory")):
        result = haste(command, model, *needed)
        assert result.exit_code == 2
        assert says in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tune", "--data-free", "--reductions", "0.2,1"], "between 0 and 1"),
        (["tune", "--data-free", "--reductions", "0"], "between 0 and 1"),
        (["tune", "--data-free", "--reductions", "nan"], "between 0 and 1"),
        (["tune", "--data-free", "--max-drop", "-0.1"], "from 0 on"),
        (["tune", "--data-free", "--max-drop", "nan"], "from 0 on"),
        (["eval", "--data", "x.npz", "--std", "0"], "above 0"),
        (["eval", "--data", "x.npz", "--std", "0.2,inf,0.2"], "above 0"),
        (["eval", "--data", "x.npz", "--mean", "nan"], "finite"),
        (["eval", "--data", "x.npz", "--assert-drop", "nan"], "from 0 on"),
        (["eval", "--data", "x.npz", "--assert-drop", "-1"], "from 0 on"),
        (["eval", "--data", "x.npz", "--plot", "curve.foo"], ".svg"),
        (["eval", "--data", "x.npz", "--plot", "missing/curve.svg"], "no directory"),
        (["report", "--std", "0"], "above 0"),
        (["bench", "--assert-speedup", "nan"], "from 0 on"),
        (["bench", "--assert-speedup", "-1"], "from 0 on"),
        (["bench", "--threads", "1,100000"], "per core"),
    ],
)
def test_values_that_make_no_sense(stock: Path, arguments: list[str], says: str) -> None:
    name, *options = arguments
    result = haste(name, stock, *options)
    assert result.exit_code == 2
    assert says in result.output.replace("\n", " ")


def test_a_file_that_is_no_journal(stock: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 3, 12, 12), np.float32))
    for number, content in enumerate((b"Some text.\n", b"[1, 2]\n", b"{}\n", bytes(range(256)))):
        journal = tmp_path / f"journal{number}"
        journal.write_bytes(content)
        result = haste("tune", stock, "--data", tmp_path / "x.npz", "--storage", journal)
        assert result.exit_code == 2
        assert "is not a journal" in result.output
        assert journal.read_bytes() == content


@pytest.mark.parametrize("source", [":x", "module:", "image.npy"])
def test_data_that_is_none(stock: Path, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "image.npy", np.zeros((1, 3, 12, 12), np.float32))
    for command in ("eval", "report"):
        result = haste(command, stock, "--data", source)
        assert result.exit_code == 2
        assert source in result.output
