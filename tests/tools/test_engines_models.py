from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from tools.engines.models import ModelError, prepare


def _classifier(*, softmax: bool = True, side: int | str = 8, inputs: int = 1) -> onnx.ModelProto:
    """Conv, Relu, and a Reshape to the batch size that Shape finds, as converters write it."""
    nodes = [
        helper.make_node("Conv", ["x0", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Shape", ["r"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["r", "target"], ["flat"]),
        helper.make_node("MatMul", ["flat", "m"], ["scores"]),
    ]
    nodes += [helper.make_node("Softmax", ["scores"], ["p"], axis=1)] * softmax
    random = np.random.default_rng(0)
    constants = {
        "w": random.standard_normal((4, 3, 3, 3), np.float32),
        "m": random.standard_normal((256, 5), np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
        "rest": np.array([-1]),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["N", 3, side, side]) for i in range(inputs)],
        [helper.make_tensor_value_info("p" if softmax else "scores", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("softmax", [True, False])
def test_batch_is_fixed_shapes_are_folded_and_scores_and_features_come_out(tmp_path: Path, softmax: bool) -> None:
    source = tmp_path / "given.onnx"
    onnx.save(_classifier(softmax=softmax), source)
    model = prepare(str(source), tmp_path)
    assert (model.input_name, model.input_shape, model.output_names) == ("x0", (1, 3, 8, 8), ("scores", "r"))
    prepared = onnx.load(model.path)
    onnx.checker.check_model(prepared, full_check=True)
    assert [node.op_type for node in prepared.graph.node] == ["Conv", "Relu", "Reshape", "MatMul"]
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8), np.float32)
    whole = onnx.load(source)
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in model.output_names if softmax)
    wanted = InferenceSession(whole.SerializeToString()).run([model.output_names[0]], {"x0": x})
    found = InferenceSession(str(model.path)).run(None, {"x0": x})
    np.testing.assert_array_equal(found[0], wanted[0])
    assert found[1].shape == (1, 4, 8, 8)


def test_an_open_shape_is_settled_by_the_user(tmp_path: Path) -> None:
    source = tmp_path / "given.onnx"
    onnx.save(_classifier(side="S"), source)
    with pytest.raises(ModelError, match="--input-shape"):
        prepare(str(source), tmp_path)
    assert prepare(str(source), tmp_path, (1, 3, 8, 8)).input_shape == (1, 3, 8, 8)


def test_a_shape_against_the_model_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "given.onnx"
    onnx.save(_classifier(), source)
    with pytest.raises(ModelError, match="contradicts"):
        prepare(str(source), tmp_path, (1, 3, 8, 16))


def test_what_cannot_be_benchmarked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a file nor one of"):
        prepare("vgg17", tmp_path)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="not a readable ONNX model"):
        prepare(str(tmp_path / "text.onnx"), tmp_path)
    onnx.save(_classifier(inputs=2), tmp_path / "two.onnx")
    with pytest.raises(ModelError, match="2 inputs"):
        prepare(str(tmp_path / "two.onnx"), tmp_path)
