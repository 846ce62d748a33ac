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
from tests.speed.fakes import FakeTimer, chain, wide_chain


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
    assert document["layers"][1]["speed"] == {
        "source": "measured",
        "stock_ms": 1.0,
        "haste_ms": 0.5,
        "dense_ms": None,
    }


def test_an_unknown_instruction_set_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "isa", lambda: "sve")
    result = call(path)
    assert result.exit_code == 0, result.output
    assert "Warning: the cost model has no constants for the instruction set 'sve'" in result.output


def flat(result: Result) -> str:
    """The output without its line breaks."""
    return " ".join(result.output.split())


def test_dense_mode_is_as_fast_by_the_clock(path: Path, timer: FakeTimer) -> None:
    timer.haste = dict.fromkeys("abc", 0.5)
    said = (
        "L = 14 is not meaningfully faster than L = 0, dense mode, which loses no accuracy (2.5 and 2.5 ms): steer to 0"
    )
    assert said in flat(call(path, "--only-faster"))
    timer.dense = dict.fromkeys("abc", 0.7)
    assert "no accuracy" not in flat(call(path, "--only-faster"))


def test_dense_mode_is_predicted_as_fast(path: Path) -> None:
    onnx.save(wide_chain(), path)
    said = "L = 20 is not predicted to be meaningfully faster than L = 0, dense mode, which loses no accuracy ("
    result = flat(call(path, "--isa", "avx512", "--hyperplanes", 20))
    assert said in result
    assert "compare them on your input (haste bench --hyperplanes 0,20) and steer to 0 or export with" in result
    document = json.loads(path.with_name("net.haste.json").read_text())
    layers = [layer["speed"] for layer in document["layers"] if layer["status"] == "rewritten"]
    assert document["dense"]["dense_ms"] == pytest.approx(sum(speed["dense_ms"] for speed in layers))
    assert document["dense"]["haste_ms"] == pytest.approx(sum(speed["haste_ms"] for speed in layers))
    assert document["dense"]["pays"] is False
    for asked in (0, 8):
        assert "no accuracy" not in flat(call(path, "--isa", "avx512", "--hyperplanes", asked))


def test_what_does_not_gain_may_gain_in_dense_mode(path: Path, timer: FakeTimer) -> None:
    timer.haste = dict.fromkeys("abc", 2.0)
    said = "--hyperplanes 0 asks the same of dense mode"
    assert said in call(path, "--only-faster").output
    assert said not in call(path, "--only-faster", "--hyperplanes", 0).output


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
