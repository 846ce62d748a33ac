"""--only-faster and --select on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from haste_export.cli.export import command
from haste_export.speed import measured
from runtime_ops import native
from tests.speed.fakes import FakeTimer, chain


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "net.onnx"
    onnx.save(chain(), file)
    return file


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> FakeTimer:
    """The clock that the command uses."""
    fake = FakeTimer()
    monkeypatch.setattr(measured, "SessionTimer", lambda threads: fake)
    return fake


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    return result


def test_only_faster(path: Path, timer: FakeTimer) -> None:
    timer.haste = {"a": 0.5, "b": 0.5, "c": 1.5}
    result = call(path, "--only-faster", "--threads", 2)
    assert result.exit_code == 0, result.output
    assert "2 of 4 convolutions rewritten" in result.output
    assert "1 → 0.5" in result.output
    assert "4.00 ms before, 3.00 ms after (1.33×)" in result.output
    document = json.loads(path.with_name("net.haste.json").read_text())
    assert document["speed"]["threads"] == 2
    assert document["options"]["select"] == "measured"
    assert [layer["status"] for layer in document["layers"]] == ["left", "rewritten", "rewritten", "left"]
    assert document["layers"][1]["speed"] == {"source": "measured", "stock_ms": 1.0, "haste_ms": 0.5}


def test_an_unknown_instruction_set_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "isa", lambda: "sve")
    result = call(path)
    assert result.exit_code == 0, result.output
    assert "Warning: the cost model has no constants for the instruction set 'sve'" in result.output


def test_nothing_gets_faster(path: Path, timer: FakeTimer) -> None:
    timer.haste = dict.fromkeys("abc", 2.0)
    result = call(path, "--select", "measured")
    assert result.exit_code == 0, result.output
    assert "Nothing here gets faster; model unchanged" in result.output
    written, original = onnx.load(path.with_name("net.haste.onnx")), onnx.load(path)
    assert [(node.op_type, node.name) for node in written.graph.node] == [
        (node.op_type, node.name) for node in original.graph.node
    ]
    assert len(written.functions) == 0


def test_no_library(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HASTE_OPS_LIBRARY", str(tmp_path / "nowhere.so"))
    result = call(path, "--only-faster")
    assert result.exit_code == 3, result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only-faster", "--select", "all"],
        ["--npy", "x.npy"],
        ["--threads", 2],
        ["--select", "some"],
        ["--isa", "sse"],
        ["--only-faster", "--threads", 0],
        ["--only-faster", "--npy", "nowhere.npy"],
    ],
)
def test_wrong_usage(path: Path, arguments: list[object]) -> None:
    assert call(path, *arguments).exit_code == 2


def test_open_sizes_need_a_shape(path: Path, timer: FakeTimer) -> None:
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    del model.graph.value_info[:]
    onnx.save(model, path)
    result = call(path, "--only-faster")
    assert result.exit_code == 2
    assert "--input-shape x:1,16,height,8" in result.output
    assert call(path, "--only-faster", "--input-shape", "x:1,16,9,8").exit_code == 0
