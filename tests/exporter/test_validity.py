"""Models that ONNX forbids, and that would otherwise be taken in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from haste_export import compress
from haste_export.errors import HasteError, UnreadableModelError, UnsupportedModelError
from haste_export.io import load_model
from haste_export.proto import to_ir
from tests.exporter.models import filters, text_model

BODY = "[a] p = Conv <pads = [1,1,1,1], group = 1> (x, w)\n[b] y = Conv (p, v)"


@pytest.fixture
def model() -> onnx.ModelProto:
    return text_model(BODY, {"w": filters(16, 16, 3, 3), "v": filters(16, 16, 3, 3)})


def in_branch(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Read a value in a branch of an If, two levels deep."""
    graph = helper.make_graph(
        [helper.make_node("Relu", [name], ["r"])], "g", [], [helper.make_tensor_value_info("r", 1, None)]
    )
    for _ in range(2):
        node = helper.make_node("If", ["flag"], ["r"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("r", 1, None)])
    model.graph.node.extend(graph.node)
    model.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    return model


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda m: m.graph.node[1].input.__setitem__(0, "q"), "nothing writes 'q'"),
        (lambda m: m.graph.node[1].output.__setitem__(0, "z"), "nothing writes 'y'"),
        (lambda m: in_branch(m, "q"), "nothing writes 'q'"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, 32), "'w' has 9216 bytes, and its shape wants 18432"),
        (lambda m: m.graph.initializer[0].dims.__setitem__(0, -1), "'w' has the shape [-1, 16, 3, 3]"),
        (lambda m: m.graph.initializer[0].ClearField("raw_data"), "'w' has no data"),
        (lambda m: m.graph.initializer[0].ClearField("data_type"), "'w' has no type"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", 99), "'w' is of the unknown type 99"),
        (lambda m: setattr(m.graph.node[0].attribute[1], "i", 0), "the Conv 'a' has no group"),
    ],
)
def test_what_onnx_forbids(model: onnx.ModelProto, spoil: Callable[[onnx.ModelProto], object], says: str) -> None:
    spoil(model)
    with pytest.raises(UnreadableModelError) as raised:
        compress(model)
    assert says in str(raised.value)


def test_what_looks_wrong_and_is_not(model: onnx.ModelProto) -> None:
    in_branch(model, "p")
    model.graph.node.reverse()  # the order is no condition
    model.graph.node[0].input.append("")  # an optional input that is not given
    names = numpy_helper.from_array(np.array(["a", "b"], object), "s")
    four_bits = helper.make_tensor("i", TensorProto.INT4, [3], [1, 2, 3])
    none = numpy_helper.from_array(np.zeros((0, 4), np.float32), "n")
    written = helper.make_tensor("f", TensorProto.FLOAT, [2], [1.0, 2.0])
    model.graph.initializer.extend([names, four_bits, none, written])
    to_ir(model, "the model")


def test_a_sparse_initializer_is_named(model: onnx.ModelProto) -> None:
    values, places = numpy_helper.from_array(np.ones(2, np.float32), "w"), numpy_helper.from_array(np.array([0, 3]))
    del model.graph.initializer[0]
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [16, 16, 3, 3]))
    with pytest.raises(UnsupportedModelError, match="'w' is a sparse initializer"):
        compress(model)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"location": "w.bin", "offset": "-4"}, "external data of the offset '-4'"),
        ({"location": "w.bin", "length": "much"}, "external data of the length 'much'"),
        ({"location": "w.bin", "length": "9212"}, "9212 bytes of external data, and its shape wants 9216"),
        ({"location": "w.bin", "offset": "4"}, "truncated"),
        ({"location": "../w.bin"}, "is missing"),
        ({"location": "folder"}, "is a directory"),
        ({"location": "a\0b"}, "is no file name"),
        ({"offset": "0"}, "does not say in which file"),
    ],
)
def test_external_data(model: onnx.ModelProto, tmp_path: Path, place: dict[str, str], says: str) -> None:
    weights = model.graph.initializer[0]
    (tmp_path / "w.bin").write_bytes(weights.raw_data)
    (tmp_path / "folder").mkdir()
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"length": "9216", **place}.items():
        weights.external_data.add(key=key, value=value)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(HasteError) as raised:
        load_model(tmp_path / "net.onnx")
    assert says in str(raised.value)
