"""haste-run: files in and out, steering, errors as sentences and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from haste_export import compress
from haste_export.data import sample_images, sample_model
from haste_export.errors import MissingDependencyError
from haste_export.membus.runner import Lockstep, find_runner
from tests.aarch64.models import Layer, make_pair

LAYERS = [Layer(16, 32)]
SIZE = 9


@pytest.fixture(scope="module")
def runner() -> Path:
    try:
        return find_runner()
    except MissingDependencyError as error:
        if os.environ.get("CI") == "true":
            pytest.fail("haste-run is not built, and CI must test it")
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def runtime() -> str:
    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    if not found:
        pytest.skip("this onnxruntime brings no libonnxruntime.so")
    return str(found[0])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_pair(tmp_path_factory.mktemp("pair"), LAYERS, SIZE)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that passes one tensor of many types through, with open sizes."""
    types = (
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.INT64,
        TensorProto.UINT8,
        TensorProto.FLOAT16,
        TensorProto.BOOL,
    )
    names = [TensorProto.DataType.Name(kind).lower() for kind in types]
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in names],
        "everything",
        [helper.make_tensor_value_info(f"in_{n}", t, ["batch", 3]) for n, t in zip(names, types, strict=True)],
        [helper.make_tensor_value_info(f"out_{n}", t, ["batch", 3]) for n, t in zip(names, types, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path_factory.mktemp("everything") / "everything.onnx"
    onnx.save(model, path)
    return path


def run(
    runner: Path, *arguments: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(runner), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HASTE_ONNXRUNTIME": "", **(environment or {})},
    )


def test_types_and_shapes_survive(runner: Path, runtime: str, everything: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values: dict[str, npt.NDArray[Any]] = {
        "float": rng.standard_normal((4, 3)).astype(np.float32),
        "double": rng.standard_normal((4, 3)),
        "int64": rng.integers(-(2**62), 2**62, (4, 3)),
        "uint8": rng.integers(0, 256, (4, 3)).astype(np.uint8),
        "float16": rng.standard_normal((4, 3)).astype(np.float16),
        "bool": rng.random((4, 3)) < 0.5,
    }
    options: list[str] = []
    for name, value in values.items():
        np.save(tmp_path / f"{name}.npy", value)
        options += ["--input", f"in_{name}={tmp_path}/{name}.npy", "--output", f"out_{name}={tmp_path}/{name}.out.npy"]
    done = run(runner, everything, "--onnxruntime", runtime, "--runs", 1, *options)
    assert done.returncode == 0, done.stderr
    for name, value in values.items():
        back = np.load(tmp_path / f"{name}.out.npy")
        assert back.dtype == value.dtype
        np.testing.assert_array_equal(back, value)


def test_raw_input_equals_npy(runner: Path, runtime: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 16, SIZE, SIZE)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    x.tofile(tmp_path / "x.raw")
    for name in ("npy", "raw"):
        done = run(
            runner,
            pair[0],
            "--onnxruntime",
            runtime,
            "--input",
            tmp_path / f"x.{name}",
            "--output",
            tmp_path / f"{name}.npy",
        )
        assert done.returncode == 0, done.stderr
    expected = onnxruntime.InferenceSession(str(pair[0]), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    np.testing.assert_array_equal(np.load(tmp_path / "npy.npy"), np.load(tmp_path / "raw.npy"))
    np.testing.assert_allclose(np.load(tmp_path / "raw.npy"), expected, rtol=1e-5, atol=1e-5)


def test_random_input_depends_on_the_seed_alone(runner: Path, runtime: str, everything: Path, tmp_path: Path) -> None:
    def values(seed: int) -> npt.NDArray[np.float16]:
        out = tmp_path / "out.npy"
        shape = ["--input-shape", "in_float16:50,3"]
        assert (
            run(
                runner, everything, "--onnxruntime", runtime, "--seed", seed, *shape, "--output", f"out_float16={out}"
            ).returncode
            == 0
        )
        loaded: npt.NDArray[np.float16] = np.load(out)
        return loaded

    first = values(1)
    np.testing.assert_array_equal(first, values(1))
    assert not np.array_equal(first, values(2))
    assert 0.8 < first.std() < 1.2


def test_report_of_a_compressed_model(runner: Path, runtime: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    options = ["--runs", 5, "--hyperplanes", 3, "--threads", 2, "--require-native", "--json", report_file]
    done = run(runner, pair[1], "--onnxruntime", runtime, *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(report_file.read_text())
    assert (report["native_runs_per_inference"], report["hyperplanes"], report["threads"]) == (1, 3, 2)
    assert len(report["runs_s"]) == 5
    assert report["min_s"] <= report["median_s"]
    assert report["peak_memory_bytes"] >= report["loaded_memory_bytes"] > 2**20
    (layer,) = report["layers"]
    assert layer["name"] == "conv0"
    assert layer["channels"] == 16 * 9
    assert layer["r"] == pytest.approx(1 - layer["buckets"] / layer["channels"])
    assert "conv0" in done.stdout


def test_layers_of_an_exported_model(runner: Path, runtime: str, tmp_path: Path) -> None:
    model = compress(str(sample_model()), str(tmp_path / "sample.onnx"), select="all", hyperplanes=4, stats=True)
    np.save(tmp_path / "x.npy", sample_images("test").inputs[:4])
    done = run(runner, model, "--onnxruntime", runtime, "--input", tmp_path / "x.npy", "--json", "-")
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)["layers"]
    assert [layer["name"] for layer in layers] == [f"node_conv2d_{index}" for index in range(1, 7)]
    assert all(0 < layer["r"] < 1 for layer in layers)


def test_without_the_library_the_body_runs(runner: Path, runtime: str, pair: tuple[Path, Path]) -> None:
    done = run(runner, pair[1], "--onnxruntime", runtime, "--no-library", "--json", "-")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["native_runs_per_inference"] == 0
    assert not report["layers"][0]["native"]
    assert run(runner, pair[1], "--onnxruntime", runtime, "--no-library", "--require-native").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "no model given"),
        (["MODEL", "extra.onnx"], 2, "only one model"),
        (["MODEL", "--what"], 2, "unknown option --what"),
        (["MODEL", "--runs"], 2, "needs a value"),
        (["MODEL", "--runs", "0"], 2, "not an integer from 1"),
        (["MODEL", "--runs=2x"], 2, "not an integer"),
        (["MODEL", "--input", "nope.npy"], 2, "nope.npy"),
        (["MODEL", "--input", "y=MODEL"], 2, "has no y"),
        (["MODEL", "--input", "MODEL"], 2, "must hold exactly"),
        (["MODEL", "--input-shape", "x:1,2,3"], 2, "declares"),
        (["MODEL", "--input-shape", "x"], 2, "expected NAME"),
        (["MODEL", "--level", "1"], 2, "cannot be steered by haste_level"),
        (["MODEL", "--output", "nope=a.npy"], 2, "has no nope"),
        (["nope.onnx"], 2, "nope.onnx: cannot be read"),
        (["NPY"], 2, "parsing failed"),
        (["MODEL", "--hyperplanes", "17"], 1, "run"),
        (["MODEL", "--library", "/nope/libhaste_ops.so"], 3, "cannot open shared object"),
        (["MODEL", "--lockstep", "--json", "-"], 2, "--json needs a file"),
    ],
)
def test_mistakes_are_sentences(
    arguments: list[str], code: int, says: str, runner: Path, runtime: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    names = {"MODEL": str(pair[1]), "NPY": str(tmp_path / "x.npy")}
    named = [names.get(a, a.replace("=MODEL", f"={pair[1]}")) for a in arguments]
    done = run(runner, "--onnxruntime", runtime, *named)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("haste-run: ")
    assert says in done.stderr


def test_no_runtime_lists_the_places(runner: Path, pair: tuple[Path, Path]) -> None:
    done = run(runner, pair[0], environment={"HASTE_ONNXRUNTIME": "", "LD_LIBRARY_PATH": ""})
    assert done.returncode == 3
    assert "--onnxruntime" in done.stderr
    other = run(runner, pair[0], "--onnxruntime", "libm.so.6")
    assert other.returncode == 3
    assert "not an ONNX Runtime library" in other.stderr


def npy_header(shape: str, dtype: str = "<f4", fortran: bool = False) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': {fortran}, 'shape': {shape}, }}".encode().ljust(118)
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x93NUMPY", "ends too early"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"x" * 70000, "without 'descr'"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "header too long"),
        (npy_header("(1,)", dtype="<c8"), "not supported"),
        (npy_header("(1, 2)", fortran=True), "Fortran"),
        (npy_header("(-1,)"), "broken shape"),
        (npy_header("(9999999999, 9999999999, 9)"), "impossible shape"),
        (npy_header("(3,)"), "ends too early"),
        (npy_header("(1,)") + bytes(5), "more bytes than its shape"),
    ],
)
def test_broken_npy_files(
    content: bytes, says: str, runner: Path, runtime: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "x.npy"
    file.write_bytes(content)
    done = run(runner, pair[0], "--onnxruntime", runtime, "--input", file)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr


def test_lockstep(runner: Path, runtime: str, pair: tuple[Path, Path]) -> None:
    with Lockstep([str(runner), str(pair[0]), "--onnxruntime", runtime]) as step:
        assert step.run(3) > 0
        step.evict(1 << 20)
        for stream in ("read", "write", "copy"):
            step.prepare(stream, 1 << 20)
            assert step.stream(stream, 1 << 20) >= 0


def test_lockstep_reports_why_a_model_does_not_load(runner: Path, runtime: str, tmp_path: Path) -> None:
    from haste_export.errors import CheckFailedError

    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with (
        Lockstep([str(runner), str(tmp_path / "bad.onnx"), "--onnxruntime", runtime]) as step,
        pytest.raises(CheckFailedError, match=r"bad\.onnx"),
    ):
        step.run()


def test_scalars_are_written_as_numpy_writes_them(runner: Path, runtime: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(np.zeros(0, np.float32), "unused")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "sum.onnx")
    np.save(tmp_path / "x.npy", np.arange(5, dtype=np.float32))
    done = run(
        runner,
        tmp_path / "sum.onnx",
        "--onnxruntime",
        runtime,
        "--input",
        tmp_path / "x.npy",
        "--output",
        tmp_path / "y.npy",
    )
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "y.npy").shape == ()
    np.save(tmp_path / "expected.npy", np.float32(10))
    assert (tmp_path / "y.npy").read_bytes()[:8] == (tmp_path / "expected.npy").read_bytes()[:8]
    assert np.load(tmp_path / "y.npy") == 10
