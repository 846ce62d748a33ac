"""`haste doctor`; what the checks find is tested with runtime_ops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import haste


def test_all_is_well() -> None:
    result = haste("doctor")
    assert result.exit_code == 0, result.output
    assert "native kernels" in result.output


def test_json_on_stdout_is_json_alone() -> None:
    document = json.loads(haste("doctor", "--json", "-").stdout)
    assert {check["name"]: check["status"] for check in document["checks"]}["native kernels"] == "ok"
    assert document["machine"]["cores"] >= 1


def test_a_missing_library_exits_with_3_and_still_writes(no_library: Path, tmp_path: Path) -> None:
    result = haste("doctor", "--json", tmp_path / "doctor.json")
    assert result.exit_code == 3
    assert "do not run natively" in result.stderr
    document = json.loads((tmp_path / "doctor.json").read_text())
    assert {check["name"]: check["status"] for check in document["checks"]}["library found"] == "failed"


def test_unwritable_json(tmp_path: Path) -> None:
    result = haste("doctor", "--json", tmp_path / "no" / "folder.json")
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


@pytest.mark.parametrize("arguments", [["surplus"], ["--json"]])
def test_usage(arguments: list[str]) -> None:
    assert haste("doctor", *arguments).exit_code == 2
