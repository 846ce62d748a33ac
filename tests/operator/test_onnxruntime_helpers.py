"""HasteLevel, the pools and HasteReorder as nodes in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.operator.c_api import from_memory
from tests.operator.cases import build
from tests.operator.onnx_layer import LAYER, REFUSALS, in_memory, library_path
from tests.operator.onnx_models import model, session

pytestmark = pytest.mark.usefixtures("library")


def helper_session(name: str, **attributes: Any) -> onnxruntime.InferenceSession:
    node = helper.make_node(name, ["X"], ["Y"], name="helper_of_the_test", domain="ai.haste", **attributes)
    x, y = (helper.make_tensor_value_info(value, TensorProto.FLOAT, None) for value in "XY")
    return session(model([node], [x], [y]), library_path())


def level_session(value: int, table: NDArray[Any]) -> onnxruntime.InferenceSession:
    """A session on table[level], the level an input of it."""
    node = helper.make_node("HasteLevel", ["level", "table"], ["Y"], name="helper_of_the_test", domain="ai.haste")
    level = helper.make_tensor_value_info("level", TensorProto.INT64, None)
    y = helper.make_tensor_value_info("Y", value, None)
    return session(model([node], [level], [y], {"table": table}), library_path())


@pytest.mark.parametrize(("kind", "dtype"), [(TensorProto.INT64, np.int64), (TensorProto.FLOAT, np.float32)])
def test_level(kind: int, dtype: type[np.generic]) -> None:
    table = np.array([0, 7, 3], dtype)
    ours = level_session(kind, table)
    for level, expected in ((0, 0), (1, 7), (2, 3), (-1, 0), (-(2**62), 0)):
        for shape in ((), (1,)):
            (y,) = ours.run(None, {"level": np.full(shape, level, np.int64)})
            assert (y.dtype, y.shape, y) == (table.dtype, (), expected)
    for level in (3, 2**62):
        with pytest.raises(REFUSALS, match=rf"helper_of_the_test.*no level {level}.*0, dense, to 2"):
            ours.run(None, {"level": np.array(level)})
    with pytest.raises(REFUSALS, match=r"level has shape \[2\]"):
        ours.run(None, {"level": np.zeros(2, np.int64)})


@pytest.mark.parametrize("table", [np.zeros((2, 2), np.float32), np.zeros(0, np.float32), np.float32(1)])
def test_level_refuses_tables(table: NDArray[np.float32]) -> None:
    with pytest.raises(REFUSALS, match="the table has shape"):
        level_session(TensorProto.FLOAT, np.asarray(table)).run(None, {"level": np.array(0)})


@pytest.mark.parametrize("name", ["HasteMaxPool", "HasteAveragePool"])
@pytest.mark.parametrize("x_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
def test_pools(name: str, x_layout: str, y_layout: str) -> None:
    """Against the standard operator, to the bit for the maximum; a wrong axis or pad would be off by far more."""
    x = build(LAYER).x
    attributes: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "ceil_mode": 1}
    node = helper.make_node(name.removeprefix("Haste"), ["X"], ["Y"], **attributes)
    info = [helper.make_tensor_value_info(value, TensorProto.FLOAT, [None] * 4) for value in "XY"]
    (expected,) = session(model([node], info[:1], info[1:])).run(None, {"X": x})
    ours = helper_session(name, x_layout=x_layout, y_layout=y_layout, **attributes)
    (memory,) = ours.run(None, {"X": in_memory(x, x_layout)})
    y = from_memory(memory.reshape(-1), memory.shape, y_layout)
    assert y.shape == expected.shape
    allowed = 0.0 if name == "HasteMaxPool" else 6 * 2.0**-24 * 2 * float(np.abs(x).max())
    assert float(np.abs(y - expected).max()) <= allowed


@pytest.mark.parametrize("x_layout", ["NCHW", "blocked"])
@pytest.mark.parametrize("y_layout", ["NCHW", "blocked"])
def test_reorder(x_layout: str, y_layout: str) -> None:
    x = build(LAYER).x
    (memory,) = helper_session("HasteReorder", x_layout=x_layout, y_layout=y_layout).run(
        None, {"X": in_memory(x, x_layout)}
    )
    assert (from_memory(memory.reshape(-1), memory.shape, y_layout) == x).all()


@pytest.mark.parametrize(
    ("name", "attributes", "shape"),
    [
        ("HasteMaxPool", {"kernel_shape": [2, 2]}, (1, 16, 8)),
        ("HasteMaxPool", {"kernel_shape": [2]}, (1, 16, 8, 8)),
        ("HasteMaxPool", {}, (1, 16, 8, 8)),
        ("HasteMaxPool", {"kernel_shape": [2, 2], "strides": [2]}, (1, 16, 8, 8)),
        ("HasteMaxPool", {"kernel_shape": [2, 2], "pads": [0, 0]}, (1, 16, 8, 8)),
        ("HasteMaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, (1, 16, 8, 8)),
        ("HasteAveragePool", {"kernel_shape": [9, 9]}, (1, 16, 8, 8)),
        ("HasteAveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, (1, 16, 8, 8)),
        ("HasteAveragePool", {"kernel_shape": [2, 2], "x_layout": "blocked"}, (1, 17, 8, 8)),
        ("HasteReorder", {"x_layout": "blocked"}, (1, 17, 8, 8)),
        ("HasteReorder", {"x_layout": "blocked"}, (16, 8)),
        ("HasteReorder", {"y_layout": "NHWC"}, (1, 16, 8, 8)),
    ],
)
def test_helpers_refuse(name: str, attributes: dict[str, Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(REFUSALS) as error:
        helper_session(name, **attributes).run(None, {"X": np.zeros(shape, np.float32)})
    assert "helper_of_the_test" in str(error.value)
