"""`haste bench`: what it compares, what it says, and what it refuses. Times themselves are not tested."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from haste_export.bench.interleave import Worker, workers
from haste_export.bench.worker import Candidate, Turn
from runtime_ops.library import CUDA_PROVIDER

from .conftest import conv_chain, haste

QUICK = ("--runs", "2", "--warm-up", "1")


def bench(*arguments: str | Path) -> list[dict[str, Any]]:
    """Run it and read the rows of its JSON."""
    result = haste("bench", *arguments, *QUICK, "--json", "-")
    assert result.exit_code == 0, result.output
    rows: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
    return rows


def test_a_plain_model_alone(stock: Path) -> None:
    (row,) = bench(stock)
    assert row["executed"] == "stock"
    assert row["speedup"] is None
    assert len(row["milliseconds"]) == 2
    assert row["quartiles_ms"][0] <= row["median_ms"] <= row["quartiles_ms"][1]


def test_a_compressed_model_against_its_body(compressed: Path) -> None:
    body, native = bench(compressed)
    assert body["executed"] == "fallback body"
    assert body["native_calls"] == 0
    assert native["executed"].startswith("native (")
    assert native["native_calls"] == 4  # two timed runs in two turns, each after one that is not timed
    assert native["speedup"] == pytest.approx(body["median_ms"] / native["median_ms"])
    assert native["speedup_range"][0] <= native["speedup_range"][1]


def test_two_models(stock: Path, compressed: Path) -> None:
    first, second = bench(stock, compressed)
    assert (first["model"], second["model"]) == (str(stock), str(compressed))
    assert first["executed"] == "stock"
    assert second["executed"].startswith("native (")
    assert second["relative_error"] > 0


def test_cuda_without_its_provider_is_the_environments_fault(stock: Path) -> None:
    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    result = haste("bench", stock, "--cuda")
    assert result.exit_code == 3
    assert "install onnxruntime-gpu" in result.stderr


def test_settings_and_threads_multiply(stock: Path, compressed: Path) -> None:
    rows = bench(stock, compressed, "--threads", "1,2", "--hyperplanes", "0,8")
    settings = [(row["threads"], row["hyperplanes"]) for row in rows]
    assert settings == [(1, 0)] * 2 + [(1, 8)] * 2 + [(2, 0)] * 2 + [(2, 8)] * 2
    dense, coarse = rows[1]["relative_error"], rows[3]["relative_error"]
    assert dense < 1e-5 < coarse


def test_instruction_set_is_named(compressed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASTE_ISA", "generic")
    assert bench(compressed)[1]["executed"] == "native (generic)"


def test_tables(stock: Path, compressed: Path) -> None:
    output = haste("bench", stock, compressed, *QUICK).output
    assert "ONNX Runtime" in output
    assert f"B  {compressed}" in output
    assert "depends on the input" in output


def test_gate(compressed: Path) -> None:
    assert haste("bench", compressed, *QUICK, "--assert-speedup", "0.0001").exit_code == 0
    result = haste("bench", compressed, *QUICK, "--assert-speedup", "1000000")
    assert result.exit_code == 1
    assert "is below 1e+06" in result.stderr


def test_open_sizes(open_sizes: Path) -> None:
    result = haste("bench", open_sizes, *QUICK)
    assert result.exit_code == 2
    assert "--input-shape x:1,3,side,side" in result.stderr
    assert bench(open_sizes, "--input-shape", "x:2,3,9,9")
    assert bench(open_sizes, "--input-shape", "1,3,9,9")


def test_open_sizes_that_are_written_as_minus_one(open_sizes: Path) -> None:
    model = onnx.load(open_sizes)
    for dim in (axes := model.graph.input[0].type.tensor_type.shape.dim):
        dim.dim_value = 3 if dim is axes[1] else -1
    onnx.save(model, open_sizes)
    assert "--input-shape x:1,3,?,?" in haste("bench", open_sizes, *QUICK).stderr
    assert bench(open_sizes, "--input-shape", "x:2,3,9,9")


def test_an_input_without_a_shape(tmp_path: Path) -> None:
    model = conv_chain()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "net.onnx")
    result = haste("bench", tmp_path / "net.onnx", *QUICK)
    assert result.exit_code == 2
    assert "input 'x' has no shape: give --input-shape x:" in result.stderr
    assert bench(tmp_path / "net.onnx", "--input-shape", "x:1,3,9,9")


def test_an_input_that_is_no_tensor(tmp_path: Path) -> None:
    model = conv_chain()
    model.graph.input.append(onnx.helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "net.onnx")
    result = haste("bench", tmp_path / "net.onnx", *QUICK)
    assert result.exit_code == 2
    assert "input 's' is no tensor" in result.stderr


def test_batch(tmp_path: Path, stock: Path) -> None:
    path = tmp_path / "batch.onnx"
    onnx.save(conv_chain("n"), str(path))
    assert bench(path, "--batch", "3")
    result = haste("bench", stock, *QUICK, "--batch", "3")
    assert result.exit_code == 2
    assert "batch" in result.stderr


def test_array_input(stock: Path, compressed: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 3, 12, 12)))
    np.savez(tmp_path / "x.npz", x=np.ones((1, 3, 12, 12)))
    assert bench(stock, compressed, "--npy", tmp_path / "x.npy")
    assert bench(stock, compressed, "--npy", tmp_path / "x.npz")


@pytest.mark.parametrize("case", ["missing", "text", "shape", "name"])
def test_bad_array_input(stock: Path, tmp_path: Path, case: str) -> None:
    path = tmp_path / ("x.npz" if case == "name" else "x.npy")
    if case == "text":
        path.write_text("1 2 3")
    elif case == "shape":
        np.save(path, np.ones((1, 3, 12, 13)))
    elif case == "name":
        np.savez(path, other=np.ones((1, 3, 12, 12)))
    result = haste("bench", stock, *QUICK, "--npy", path)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")


def test_photograph(stock: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30, 3), 127, np.uint8)).save(tmp_path / "photo.png")
    assert bench(stock, "--image", tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "missing.png"):
        result = haste("bench", stock, *QUICK, "--image", tmp_path / name)
        assert result.exit_code == 2
        assert "as an image" in result.stderr


def test_photograph_without_pillow(stock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    result = haste("bench", stock, *QUICK, "--image", "photo.png")
    assert result.exit_code == 3
    assert "haste-export[image]" in result.stderr


def test_photograph_for_what_is_no_image(tmp_path: Path) -> None:
    onnx.save(conv_chain(channels=5), str(tmp_path / "five.onnx"))
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    result = haste("bench", tmp_path / "five.onnx", *QUICK, "--image", tmp_path / "photo.png")
    assert result.exit_code == 2
    assert "no image" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threads", "0"],
        ["--threads", "one"],
        ["--runs", "0"],
        ["--hyperplanes", "-1"],
        ["--hyperplanes", "4", "--level", "1"],
        ["--image", "a.png", "--npy", "b.npy"],
        ["--assert-speedup", "2"],
    ],
)
def test_usage(stock: Path, arguments: list[str]) -> None:
    assert haste("bench", stock, *arguments).exit_code == 2


def test_steering_that_no_model_has(stock: Path, compressed: Path) -> None:
    result = haste("bench", stock, *QUICK, "--hyperplanes", "4")
    assert result.exit_code == 2
    assert "haste_hyperplanes" in result.stderr
    assert haste("bench", compressed, *QUICK, "--level", "1").exit_code == 2


def test_more_hyperplanes_than_there_are(compressed: Path) -> None:
    result = haste("bench", compressed, *QUICK, "--hyperplanes", "99")
    assert result.exit_code == 2
    assert "hyperplanes" in result.stderr


def test_missing_library(compressed: Path, no_library: Path) -> None:
    result = haste("bench", compressed, *QUICK)
    assert result.exit_code == 3
    assert str(no_library) in result.stderr
    assert "haste doctor" in result.stderr


def test_unreadable(unreadable: Path) -> None:
    result = haste("bench", unreadable, *QUICK)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")


def test_a_model_that_onnxruntime_refuses(tmp_path: Path) -> None:
    model = conv_chain()
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, str(tmp_path / "unknown.onnx"))
    result = haste("bench", tmp_path / "unknown.onnx", *QUICK)
    assert result.exit_code == 2
    assert "NoSuchOperator" in result.stderr


def test_models_with_different_inputs(stock: Path, tmp_path: Path) -> None:
    info, make = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [make("Add", ["a", "b"], ["c"])], "sum", [info("a", 1, [1]), info("b", 1, [1])], [info("c", 1, [1])]
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "sum.onnx"))
    result = haste("bench", stock, tmp_path / "sum.onnx", *QUICK)
    assert result.exit_code == 2
    assert "different inputs" in result.stderr


def test_an_interrupt_is_for_the_parent(stock: Path) -> None:
    started: list[Worker] = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_a_turn(stock, started)
    assert started[0]._process.exitcode == -signal.SIGKILL


def interrupt_a_turn(stock: Path, started: list[Worker]) -> None:
    with workers([Candidate("A", str(stock), None)], 1) as (worker,):
        started.append(worker)
        os.kill(worker._process.pid or 0, signal.SIGINT)
        assert len(worker.take(Turn({"x": np.zeros((1, 3, 12, 12), np.float32)}, 1)).milliseconds) == 1
        raise KeyboardInterrupt
