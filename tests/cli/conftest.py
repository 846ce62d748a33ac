"""Models and a runner for the tests of the commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

import haste_export
from haste_export.cli.main import command
from runtime_ops.library import LIBRARY_VARIABLE


def haste(*arguments: object) -> Result:
    """Run `haste` in this process; an exception that is no exit is the test's failure."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def conv_chain(batch: int | str = 1, size: int | str = 12, channels: int = 3, width: int = 16) -> onnx.ModelProto:
    """Three convolutions: a first one, a 3x3 that can be rewritten, and one with stride 2; all of `width` channels."""
    rng = np.random.default_rng(7)
    nodes, initializers, source = [], [], "x"
    for index, (inputs, stride) in enumerate([(channels, 1), (width, 1), (width, 2)]):
        weights = rng.standard_normal((width, inputs, 3, 3)).astype(np.float32) / np.sqrt(9 * inputs)
        initializers.append(numpy_helper.from_array(weights.astype(np.float32), f"w{index}"))
        target = f"y{index}"
        nodes.append(
            helper.make_node(
                "Conv", [source, f"w{index}"], [target], f"conv{index}", pads=[1] * 4, strides=[stride] * 2
            )
        )
        source = target
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, channels, size, size])],
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, None)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    """A plain model of three convolutions."""
    path = tmp_path / "chain.onnx"
    onnx.save(conv_chain(), str(path))
    return path


@pytest.fixture
def compressed(stock: Path) -> Path:
    """The same, compressed."""
    return haste_export.compress(stock, select="all")


@pytest.fixture
def open_sizes(tmp_path: Path) -> Path:
    """A plain model that leaves batch, height and width open."""
    path = tmp_path / "open.onnx"
    onnx.save(conv_chain("n", "side"), str(path))
    return path


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the op library untraceable."""
    missing = tmp_path / "nowhere.so"
    monkeypatch.setenv(LIBRARY_VARIABLE, str(missing))
    return missing


UNREADABLE = ["missing", "folder", "text", "truncated", "empty file", "empty graph"]


@pytest.fixture(params=UNREADABLE)
def unreadable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A path that holds no model, in each of the ways in which that happens."""
    path = tmp_path / "bad.onnx"
    whole = conv_chain().SerializeToString()
    graph = helper.make_graph([], "nothing", [], [])
    contents = {
        "text": b"<html>404</html>",
        "truncated": whole[: len(whole) // 2],
        "empty file": b"",
        "empty graph": helper.make_model(graph).SerializeToString(),
    }
    if request.param == "folder":
        path.mkdir()
    elif request.param in contents:
        path.write_bytes(contents[request.param])
    return path
