"""Every way in which a device can be wrong, and what the doctor says to it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from runtime_ops import Check, available_isas, doctor, native
from runtime_ops.library import CUDA_LIBRARY_VARIABLE, CUDA_PROVIDER, LIBRARY_VARIABLE

from .conftest import ROOT


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def statuses(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.status for check in checks}


def use(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, str(path))


@pytest.fixture
def copy(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the library that may be damaged, and that is the one in use."""
    path = Path(shutil.copy(library, tmp_path / "libhaste_ops.so"))
    use(monkeypatch, path)
    return path


@pytest.mark.usefixtures("library")
def test_all_is_well() -> None:
    assert {check.status for check in doctor()} <= {"ok", "note", "skipped"}
    names = ["onnxruntime", "library found", "library loads", "symbols", "version", "instruction set", "native kernels"]
    assert [check.name for check in doctor() if check.status == "ok"][: len(names)] == names


def test_no_library(no_library: Path) -> None:
    checks = by_name(doctor())
    assert checks["library found"].status == "failed"
    assert str(no_library) in checks["library found"].detail
    assert checks["library found"].remedy
    assert checks["native kernels"].status == "skipped"


def test_text_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "libhaste_ops.so"
    path.write_text("#!/bin/sh\n" * 100)
    use(monkeypatch, path)
    check = by_name(doctor())["library loads"]
    assert check.status == "failed"
    assert "damaged" in check.remedy


def test_half_copied(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:40])
    check = by_name(doctor())["library loads"]
    assert check.status == "failed"
    assert "damaged" in check.remedy


def test_other_processor(copy: Path) -> None:
    machine = 183 if os.uname().machine != "aarch64" else 62
    image = bytearray(copy.read_bytes())
    struct.pack_into("<H", image, 18, machine)
    copy.write_bytes(image)
    check = by_name(doctor())["library loads"]
    assert check.status == "failed"
    assert f"this is {os.uname().machine}" in check.detail


def test_other_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str) -> None:
    # A library of C's own, found through the process that has it loaded.
    other = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libm.so" in line)
    use(monkeypatch, Path(shutil.copy(other, tmp_path / "libhaste_ops.so")))
    checks = doctor()
    assert statuses(checks)["library loads"] == "ok"
    assert statuses(checks)["symbols"] == "failed"
    assert "RegisterCustomOps" in by_name(checks)["symbols"].detail
    assert "native kernels" not in statuses(checks)


@pytest.mark.usefixtures("library")
def test_old_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.16.3")
    check = by_name(doctor())["onnxruntime"]
    assert check.status == "failed"
    assert "1.17" in check.remedy


@pytest.mark.parametrize("version", ["1.17.0", "1.31.1", "2.0.0", "1.25.0.dev20260101"])
@pytest.mark.usefixtures("library")
def test_newer_onnxruntime(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", version)
    assert statuses(doctor())["onnxruntime"] == "ok"


@pytest.fixture
def cuda_library(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """A library in the CUDA one's place that finds a GPU, and an onnxruntime that knows CUDA."""
    monkeypatch.setenv(CUDA_LIBRARY_VARIABLE, library)
    monkeypatch.setattr(native, "cuda_devices", lambda path: (1, ""))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, "CPUExecutionProvider"])


@pytest.mark.usefixtures("cuda_library")
def test_cuda_library() -> None:
    check = by_name(doctor())["CUDA library"]
    assert (check.status, "1 GPU" in check.detail) == ("ok", True)


@pytest.mark.usefixtures("cuda_library")
def test_cuda_library_without_cuda_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    check = by_name(doctor())["CUDA library"]
    assert check.status == "note"
    assert "no CUDA provider" in check.detail


@pytest.mark.usefixtures("cuda_library")
def test_cuda_library_without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "cuda_devices", lambda path: (0, "CUDA driver version is insufficient"))
    check = by_name(doctor())["CUDA library"]
    assert check.status == "note"
    assert check.detail.endswith("finds no GPU: CUDA driver version is insufficient")


def test_cuda_library_that_is_another(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setenv(CUDA_LIBRARY_VARIABLE, library)
    check = by_name(doctor())["CUDA library"]
    assert check.status == "failed"
    assert "haste_cuda" in check.detail


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run python -m runtime_ops."""
    return subprocess.run(
        [sys.executable, "-m", "runtime_ops", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("library")
def test_command() -> None:
    done = command()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "native kernels: registered, ran natively" in done.stdout


@pytest.mark.usefixtures("library")
def test_command_json() -> None:
    done = command("--json")
    assert done.returncode == 0
    assert {"name", "status", "detail", "remedy"} == set(json.loads(done.stdout)[0])


def test_command_without_library(no_library: Path) -> None:
    done = command()
    assert done.returncode == 3
    assert str(no_library) in done.stdout


def test_command_usage() -> None:
    assert command("--nonsense").returncode == 2
    assert command("--help").returncode == 0
    assert "Traceback" not in command("--nonsense").stderr


@pytest.mark.usefixtures("library")
def test_every_instruction_set_passes() -> None:
    for name in available_isas():
        done = command(HASTE_ISA=name)
        assert done.returncode == 0, done.stdout
        assert f"instruction set: {name} " in done.stdout


@pytest.mark.usefixtures("library")
def test_unknown_instruction_set_is_told() -> None:
    done = command(HASTE_ISA="mmx")
    assert done.returncode == 3
    assert "HASTE_ISA=mmx" in done.stdout
