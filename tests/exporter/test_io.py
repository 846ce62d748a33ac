"""What goes in and what comes out: models, paths, names, forms."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from haste_export import compress, compress_with_report
from haste_export.io import default_target, report_path
from tests.exporter.models import assert_same_function, haste_convs, op_types


def test_a_path_gives_a_path_beside_it(path: Path, model: onnx.ModelProto, has_library: bool) -> None:
    target = compress(path, select="all")
    assert target == path.with_name("net.haste.onnx")
    document = json.loads(path.with_name("net.haste.json").read_text())
    assert [layer["status"] for layer in document["layers"]] == ["left", "rewritten"]
    assert document["summary"]["rewritten"] == 1
    assert document["target"] == str(target)
    assert document["layers"][1]["flops_regular"] == 2 * 9 * 8 * 9 * 16 * 64
    assert_same_function(model, onnx.load(target), library=has_library)


def test_a_string_gives_a_string(path: Path, tmp_path: Path) -> None:
    target = compress(str(path), str(tmp_path / "out.onnx"), select="all")
    assert target == str(tmp_path / "out.onnx")
    assert haste_convs(onnx.load(target))


@pytest.mark.parametrize(
    ("source", "target", "report"),
    [("a/net.onnx", "a/net.haste.onnx", "a/net.haste.json"), ("net.pb", "net.pb.haste.onnx", "net.pb.haste.json"),
     ("v1.2.onnx", "v1.2.haste.onnx", "v1.2.haste.json")],
)  # fmt: skip
def test_names_of_results(source: str, target: str, report: str) -> None:
    assert default_target(Path(source)) == Path(target)
    assert report_path(Path(target)) == Path(report)


def test_a_model_is_not_changed(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    compress(model, skip_first=0, select="all")
    assert model.SerializeToString(deterministic=True) == before


def test_nothing_to_rewrite_gives_the_original(model: onnx.ModelProto, path: Path) -> None:
    small, report = compress_with_report(model, skip_first=2, select="all")
    assert small == model
    assert small is not model
    assert not report.rewritten
    target, _ = compress_with_report(path, skip_first=2, select="all")
    assert op_types(onnx.load(target)) == op_types(model)
    assert not onnx.load(target).functions


def test_input_and_output_may_be_one_file(path: Path, model: onnx.ModelProto, has_library: bool) -> None:
    compress(path, path, select="all")
    assert_same_function(model, onnx.load(path), library=has_library)


def test_weights_in_the_file_are_the_kernels_form(path: Path) -> None:
    written = onnx.load(compress(path, skip_first=0, select="all"))
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in written.graph.initializer}
    assert {arrays[node.input[1]].shape for node in haste_convs(written)} == {(1, 16, 9, 16), (4, 16, 9, 16)}
