"""Models that cannot be read, and those of a kind that the compiler cannot take: a sentence, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from haste_export import compress
from haste_export.errors import UnreadableModelError, UnsupportedModelError
from tests.exporter.models import text_model


@pytest.mark.parametrize("content", [b"", b"# no model\n", b"\x00" * 64, bytes(range(256)) * 8, b"\x08\x08"])
def test_what_is_not_onnx(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    source.write_bytes(content)
    with pytest.raises(UnreadableModelError, match="not an ONNX model"):
        compress(source)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx"]


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_model(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableModelError, match="not an ONNX model, or is truncated"):
        compress(path)


def test_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModelError, match="cannot read"):
        compress(tmp_path / "none.onnx")
    with pytest.raises(UnreadableModelError, match="cannot read"):
        compress(tmp_path)


def test_an_empty_graph() -> None:
    with pytest.raises(UnsupportedModelError, match="graph is empty"):
        compress(text_model("", outputs="float[1,16,9,8] x"))


@pytest.mark.parametrize(("opset", "sentence"), [(999, "opset 999 is unknown"), (6, "opset 6 is too old")])
def test_unknown_opsets(model: onnx.ModelProto, opset: int, sentence: str) -> None:
    model.opset_import[0].version = opset
    with pytest.raises(UnsupportedModelError, match=sentence):
        compress(model)


def test_a_model_without_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]
    with pytest.raises(UnsupportedModelError, match="does not say which opset"):
        compress(model)


def test_a_compressed_model(model: onnx.ModelProto) -> None:
    with pytest.raises(UnsupportedModelError, match="compressed already"):
        compress(compress(model, select="all"))


def test_an_invalid_graph(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "y"  # a cycle
    with pytest.raises(UnreadableModelError, match="sort"):
        compress(model)


def test_two_nodes_that_write_one_value(model: onnx.ModelProto, tmp_path: Path) -> None:
    model.graph.node.append(onnx.helper.make_node("Relu", ["x"], ["y"]))
    onnx.save(model, tmp_path / "net.onnx")
    for given in (model, tmp_path / "net.onnx"):
        with pytest.raises(UnreadableModelError, match="redeclared"):
            compress(given)


def test_a_map_is_named(model: onnx.ModelProto) -> None:
    pair = onnx.TypeProto()
    pair.map_type.key_type = onnx.TensorProto.INT64
    pair.map_type.value_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    model.graph.node.append(onnx.helper.make_node("ZipMap", ["y"], ["m"], domain="ai.onnx.ml", classlabels_int64s=[0]))
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    model.graph.output.append(onnx.helper.make_value_info("m", onnx.helper.make_sequence_type_proto(pair)))
    with pytest.raises(UnsupportedModelError, match="'m', which is a map"):
        compress(model)


def test_a_sparse_tensor_is_named(model: onnx.ModelProto) -> None:
    values = onnx.numpy_helper.from_array(np.ones(2, np.float32), "values")
    sparse = onnx.helper.make_sparse_tensor(values, onnx.numpy_helper.from_array(np.array([0, 3])), [4])
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["s"], sparse_value=sparse))
    with pytest.raises(UnsupportedModelError, match=r"Sparse tensors are not supported yet$"):
        compress(model)
