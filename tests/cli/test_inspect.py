"""`haste inspect` on plain, compressed and unreadable models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

import haste_export
from haste_export import Options
from haste_export.contract import MERGES, Merge
from haste_export.flops import Compression, LayerShape, layer_cost
from haste_export.inspection import break_even

from .conftest import conv_chain, haste


def inspect(*arguments: object) -> dict[str, Any]:
    """Run it and read its JSON."""
    result = haste("inspect", *arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_plain_model(stock: Path) -> None:
    document = inspect(stock, "--select", "all")
    assert document["compressed"] is False
    first, middle, last = document["layers"]
    assert [layer["status"] for layer in (first, middle, last)] == ["left", "rewritten", "left"]
    assert "first" in first["reason"]
    assert "stride" in last["reason"]
    assert middle["flops_regular"] == 2 * 12 * 12 * 9 * 16 * 16
    assert 0 < middle["break_even"] < 1


def test_the_model_is_not_touched(stock: Path) -> None:
    before = stock.read_bytes(), sorted(path.name for path in stock.parent.iterdir())
    haste("inspect", stock)
    assert (stock.read_bytes(), sorted(path.name for path in stock.parent.iterdir())) == before


def test_table_of_a_plain_model(stock: Path) -> None:
    output = haste("inspect", stock, "--select", "all").output
    assert "1 of 3 convolutions would be rewritten" in output
    assert "more qualify" not in output
    assert "12×12" in output


def test_it_says_what_the_exporter_would_do(tmp_path: Path) -> None:
    """A small layer with few channels is not predicted to gain; one with many is."""
    for width, size in ((16, 12), (128, 28)):
        path = tmp_path / f"{width}.onnx"
        onnx.save(conv_chain(size=size, width=width), str(path))
        layer = inspect(path)["layers"][1]
        _, report = haste_export.compress_with_report(path, tmp_path / "out.onnx")
        assert (layer["status"], layer["reason"]) == (report.layers[1].status, report.layers[1].reason)
        assert layer["qualifies"]
        assert layer["break_even"] > 0
    assert "0 of 3 convolutions would be rewritten" in (output := haste("inspect", tmp_path / "16.onnx").output)
    assert "1 more qualify and are not predicted to gain (--select all)" in " ".join(output.split())


def test_options_of_the_selection(stock: Path) -> None:
    def statuses(*options: object) -> list[str]:
        return [layer["status"] for layer in inspect(stock, "--select", "all", *options)["layers"]]

    assert statuses("--skip-first", 0)[:2] == ["rewritten"] * 2
    assert statuses("--exclude", "conv1")[1] == "left"
    assert statuses("--include", "re:conv[12]")[1] == "rewritten"


def test_an_exclude_that_matches_nothing(stock: Path) -> None:
    result = haste("inspect", stock, "--exclude", "layer9")
    assert result.exit_code == 2
    assert "layer9" in result.stderr


def test_open_sizes_are_told_and_can_be_given(open_sizes: Path) -> None:
    assert inspect(open_sizes)["layers"][1]["flops_regular"] is None
    assert "--input-shape" in haste("inspect", open_sizes).output
    document = inspect(open_sizes, "--input-shape", "x:1,3,12,12")
    assert document["layers"][1]["flops_regular"] == 2 * 12 * 12 * 9 * 16 * 16


@pytest.mark.parametrize("text", ["x:1,3,a,b", "y:1,3,12,12", "x", "x:"])
def test_input_shapes_that_do_not_read(open_sizes: Path, text: str) -> None:
    result = haste("inspect", open_sizes, "--input-shape", text)
    assert result.exit_code == 2
    assert result.stderr


def test_compressed_model(compressed: Path) -> None:
    document = inspect(compressed)
    assert document["compressed"] is True
    (layer,) = document["layers"]
    assert (layer["in_channels"], layer["out_channels"], layer["kernel"]) == (16, 16, [3, 3])
    assert (layer["height"], layer["width"]) == (12, 12)
    assert layer["levels"] == [14]
    assert layer["max_hyperplanes"] == 32
    assert document["steering"] == {"haste_hyperplanes": 14}
    assert document["plain_convolutions"] == ["conv0", "conv2"]
    assert document["fallback"] is True
    assert document["metadata"]["haste.version"] == haste_export.__version__


def test_levels_of_a_tuned_model(stock: Path, tmp_path: Path) -> None:
    plan = haste_export.Plan.from_hyperplanes({"conv1": 9})
    tuned = haste_export.compress(onnx.load(str(stock)), plan=plan, select="all")
    onnx.save(tuned, str(tmp_path / "tuned.onnx"))
    document = inspect(tmp_path / "tuned.onnx")
    assert document["layers"][0]["levels"] == [0, 9]
    assert document["steering"] == {"haste_level": 1}


def test_table_of_a_compressed_model(compressed: Path) -> None:
    output = haste("inspect", compressed).output
    assert "1 HasteConv, 2 Conv" in output
    assert "haste_hyperplanes, default 14" in output


def test_float16_weights(stock: Path, tmp_path: Path) -> None:
    half = haste_export.compress(onnx.load(str(stock)), select="all", weights="fp16")
    onnx.save(half, str(tmp_path / "half.onnx"))
    (layer,) = inspect(tmp_path / "half.onnx")["layers"]
    assert (layer["weights"], layer["weight_type"]) == ("packed", "float16")
    kernel_h, kernel_w = layer["kernel"]
    assert (
        layer["weight_bytes"] == 2 * layer["in_channels"] * -(-layer["out_channels"] // 16) * 16 * kernel_h * kernel_w
    )
    assert "packed float16" in haste("inspect", tmp_path / "half.onnx").output


def test_a_model_without_convolutions(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "g", [info("x", 1, [1])], [info("y", 1, [1])])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "relu.onnx"))
    assert inspect(tmp_path / "relu.onnx")["layers"] == []


def test_unreadable(unreadable: Path) -> None:
    result = haste("inspect", unreadable)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")


def test_unknown_opset(tmp_path: Path) -> None:
    model = conv_chain()
    model.opset_import[0].version = 999
    onnx.save(model, str(tmp_path / "future.onnx"))
    result = haste("inspect", tmp_path / "future.onnx")
    assert result.exit_code == 2
    assert "999" in result.stderr


@pytest.mark.parametrize("merge", MERGES)
def test_break_even_is_where_the_costs_meet(merge: Merge) -> None:
    shape, options = LayerShape(64, 64, 30, 30, 3, 3), Options(merge=merge)
    r = break_even(shape, options)
    cost = layer_cost(shape, Compression(r, 0.0), options.hyperplanes, options.sparsity, merge)
    assert cost.haste == pytest.approx(cost.regular, rel=1e-9)


def test_break_even_never() -> None:
    # One output channel: hashing a window costs more than the convolution it might save.
    assert break_even(LayerShape(64, 1, 30, 30, 3, 3), Options()) > 1
