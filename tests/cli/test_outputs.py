"""Outputs that a command must refuse, and refuse before it works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import haste


@pytest.mark.parametrize(
    "command",
    [
        ("tune", "--data-free", "-o"),
        ("tune", "--data-free", "--export"),
        ("tune", "--data-free", "--json"),
        ("report", "-o"),
        ("report", "--json"),
    ],
)
def test_an_input_is_not_overwritten(stock: Path, command: tuple[str, ...]) -> None:
    before = stock.read_bytes()
    other_spelling = stock.parent / ".." / stock.parent.name / stock.name
    name, *options = command
    for output in (stock, other_spelling):
        result = haste(name, stock, *options, output)
        assert result.exit_code == 2
        assert "would be overwritten" in result.output
    assert stock.read_bytes() == before


def test_a_link_to_an_input_is_that_input(stock: Path, tmp_path: Path) -> None:
    (tmp_path / "link.html").symlink_to(stock)
    result = haste("report", stock, "-o", tmp_path / "link.html")
    assert result.exit_code == 2
    assert "would be overwritten" in result.output


@pytest.mark.parametrize(("output", "says"), [(".", "directory"), ("missing/page", "no directory")])
def test_what_cannot_be_written_is_refused(stock: Path, tmp_path: Path, output: str, says: str) -> None:
    for command in (("tune", "--data-free", "-o"), ("tune", "--data-free", "--export"), ("report", "-o")):
        result = haste(command[0], stock, *command[1:], tmp_path / output)
        assert result.exit_code == 2
        assert says in result.output
    assert [path.name for path in tmp_path.iterdir()] == [stock.name]


def test_two_outputs_need_two_files(stock: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = haste("tune", stock, "--data-free", "-o", out, "--export", out)
    assert result.exit_code == 2
    assert "two different outputs" in result.output


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout(stock: Path, unbuffered: str) -> None:
    script = "from haste_export.cli.main import command\ncommand()"
    for options in ([], ["--json", "-"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-c", script, "inspect", stock, *options],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            )
        assert done.returncode == 2
        assert done.stderr == "Error: No space left on device\n"
