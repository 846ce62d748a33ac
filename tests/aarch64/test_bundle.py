"""The bundle: what it asks of a system, and a model run with it on an emulated board, with no Python there."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.aarch64.emulated import AARCH64, ARMV7, ROOT, Target, make_system_root
from tests.aarch64.models import Layer, make_pair

sys.path.insert(0, str(ROOT / "tools/bundle"))
from elf import complaints, needed_libraries
from glibc_stub import parse_version

LAYERS = [Layer(16, 32), Layer(32, 48)]
SIZE = 12


@pytest.fixture(params=[AARCH64, ARMV7], ids=lambda t: t.triple)
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    missing = found.missing()
    if missing:
        pytest.skip(missing)
    return found


@pytest.fixture
def onnxruntime_library() -> Path:
    found = sorted((ROOT / "build/aarch64/onnxruntime").glob("libonnxruntime.so*"))
    if not found:
        pytest.skip("no ONNX Runtime for aarch64 (tests/aarch64/setup)")
    return found[0]


def test_binaries_need_nothing_but_glibc_2_28(target: Target) -> None:
    assert target.build is not None
    for name in ("libhaste_ops.so", "haste-run"):
        assert complaints(target.build / name, parse_version("2.28")) == []
    assert "libdl.so.2" not in needed_libraries(target.build / "libhaste_ops.so")


def test_library_exports_only_its_interface(target: Target) -> None:
    assert target.build is not None
    listing = subprocess.run(
        ["readelf", "--dyn-syms", "--wide", str(target.build / "libhaste_ops.so")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    fields = [line.split() for line in listing.splitlines()]
    exported = {
        f[7].partition("@")[0]
        for f in fields
        if len(f) > 7 and f[4] in ("GLOBAL", "WEAK") and f[6] not in ("UND", "ABS")
    }
    assert "RegisterCustomOps" in exported
    assert {name for name in exported if not name.startswith("haste_")} == {"RegisterCustomOps"}


def test_archive_is_complete() -> None:
    archives = sorted((ROOT / "dist").glob(f"haste-*-{AARCH64.triple}.tar.gz"))
    if not archives:
        pytest.skip("no bundle was built (make bundle)")
    with tarfile.open(archives[-1]) as tar:
        names = {name.partition("/")[2]: tar.getmember(name) for name in tar.getnames()}
    assert {"libhaste_ops.so", "haste-run", "haste.h", "README.md", "LICENSE", "runtime_ops/__init__.py"} <= set(names)
    assert names["haste-run"].mode & 0o111
    assert names["runtime_ops/libhaste_ops.so"].linkname == "../libhaste_ops.so"
    assert all(member.mtime == 0 and member.uid == 0 for member in names.values())


@pytest.mark.parametrize("cpu", ["neoverse-n1", "cortex-a72"])
def test_model_runs_on_an_emulated_board(cpu: str, onnxruntime_library: Path, tmp_path: Path) -> None:
    if AARCH64.missing():
        pytest.skip(str(AARCH64.missing()))
    assert AARCH64.build is not None
    stock, haste = make_pair(tmp_path, LAYERS, SIZE)
    x = np.random.default_rng(1).standard_normal((1, LAYERS[0].channels, SIZE, SIZE)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    root = make_system_root(tmp_path / "root", AARCH64)

    def run(model: Path, *options: str) -> tuple[dict[str, object], np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        report, y = tmp_path / "report.json", tmp_path / "y.npy"
        command = [str(AARCH64.build / "haste-run"), str(model), "--onnxruntime", str(onnxruntime_library)]  # type: ignore[operator]
        command += ["--input", str(tmp_path / "x.npy"), "--output", f"y1={y}", "--runs", "1", "--warmup", "0"]
        done = AARCH64.run(root, cpu, [*command, "--json", str(report), *options])
        assert done.returncode == 0, done.stderr
        return json.loads(report.read_text()), np.load(y)

    exact = onnxruntime.InferenceSession(str(stock), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    dense, y_dense = run(haste, "--hyperplanes", "0", "--require-native")
    assert dense["native_runs_per_inference"] == len(LAYERS)
    np.testing.assert_allclose(y_dense, exact, rtol=0, atol=2e-5 * float(np.abs(exact).max()))
    body, y_body = run(haste, "--no-library")
    assert body["native_runs_per_inference"] == 0
    np.testing.assert_allclose(y_body, exact, rtol=0, atol=2e-5 * float(np.abs(exact).max()))
    merged, y_merged = run(haste, "--hyperplanes", "4", "--require-native")
    layers = merged["layers"]
    assert isinstance(layers, list)
    assert all(layer["native"] and layer["r"] > 0 for layer in layers)
    assert not np.array_equal(y_merged, y_dense)
