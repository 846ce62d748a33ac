"""The oldest supported ONNX Runtime, in an environment of its own that `make test` sets up."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import haste_export
from runtime_ops import Session

from .conftest import ROOT

PYTHON = ROOT / ".venv-ort1.17" / "bin" / "python"
SAMPLE = ROOT / "haste_export" / "data" / "sample.onnx"

RUN = """
import sys
import numpy as np
import onnxruntime
from runtime_ops import Session

model, feeds, out = sys.argv[1:]
x = np.load(feeds)
results = {"version": np.array(onnxruntime.__version__)}
for name, library in (("native", True), ("body", False)):
    session = Session(model, library=library)
    results[name] = session.run(x)[0]
    assert session.native is library
    if library:
        session.hyperplanes = 0
        results["dense"] = session.run(x)[0]
np.savez(out, **results)
"""


def oldest(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([str(PYTHON), *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def _environment() -> None:
    if not PYTHON.exists():
        pytest.skip("no environment with ONNX Runtime 1.17.3: `make test` makes one where its wheels exist")


@pytest.mark.usefixtures("library")
def test_doctor() -> None:
    done = oldest("-m", "runtime_ops", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["onnxruntime"]["detail"].startswith("1.17.3")
    assert checks["native kernels"]["status"] == "ok"


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("weights", ["packed", "fp16"])
def test_a_trained_model_computes_the_same(tmp_path: Path, weights: str) -> None:
    pytest.importorskip("onnxscript", reason="compressing a model needs the compiler's dependencies")
    stock = onnx.load(str(SAMPLE))
    stock.ir_version = 9  # the newest that this release reads; the model uses nothing of later ones
    model = tmp_path / "sample.haste.onnx"
    onnx.save(haste_export.compress(stock, hyperplanes=10, select="all", weights=weights), str(model))
    shape = [
        dim if isinstance(dim, int) else 2 for dim in onnxruntime.InferenceSession(str(SAMPLE)).get_inputs()[0].shape
    ]
    x = np.random.default_rng(5).random(shape, np.float32)
    np.save(tmp_path / "x.npy", x)
    done = oldest("-c", RUN, str(model), str(tmp_path / "x.npy"), str(tmp_path / "out.npz"))
    assert done.returncode == 0, done.stderr
    old = np.load(tmp_path / "out.npz")
    assert str(old["version"]) == "1.17.3"
    # The same kernels on the same input; the layers around them are ONNX Runtime's and may round differently.
    for name, library in (("native", True), ("body", False)):
        new = Session(model, library=library).run(x)[0]
        np.testing.assert_allclose(old[name], new, rtol=1e-4, atol=1e-4 * float(np.abs(new).max()))
    np.testing.assert_allclose(old["dense"], old["body"], rtol=1e-4, atol=1e-4 * float(np.abs(old["body"]).max()))
