"""A model cut into stages computes what the whole model computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

from haste_export.evaluate.models import compressed_with
from haste_export.options import Options
from haste_export.tune.allocate import DENSE
from haste_export.tune.stages import cut
from runtime_ops import Session
from tests.built import require_library

# A residual from two layers back, one that is a constant, a branch that reads what was made long before it, a pool.
TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
agraph (float[2,16,9,9] x, bool flag) => (float[2,16,4,4] y)
{
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, wa, ba)
    ra = Relu (a)
    b = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (ra, wb, bb)
    rb = Relu (b)
    c = Conv <kernel_shape = [1, 1]> (rb, wc, bc)
    sc = Add (c, ra)
    rc = Clip (sc, low, high)
    t = If (flag) <
        then_branch = yes () => (float[2,16,9,9] ty) { ty = Add (ra, rc) },
        else_branch = no () => (float[2,16,9,9] tn) { half = Mul (rc, rb)  tn = Sub (half, x) }
    >
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (t, wd, bd)
    sd = Add (d, image)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (sd)
    e = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (p, we, be)
    y = Sigmoid (e)
}
"""


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    require_library()
    rng = np.random.default_rng(4)
    made = onnx.parser.parse_model(TEXT)
    for node in (node for node in made.graph.node if node.op_type == "Conv"):
        node.name = node.output[0]
        side = 1 if node.name == "c" else 3
        weights = rng.standard_normal((16, 16, side, side)) / np.sqrt(16 * side**2)
        made.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), node.input[1]))
        made.graph.initializer.append(
            numpy_helper.from_array(rng.standard_normal(16).astype(np.float32), node.input[2])
        )
    for name, value in (("low", -0.5), ("high", 2.0), ("image", rng.standard_normal((2, 16, 9, 9)))):
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    onnx.checker.check_model(made, full_check=True)
    return made


@pytest.mark.parametrize("flag", [False, True])
def test_every_layer_sees_what_it_sees_in_the_whole_model(model: onnx.ModelProto, flag: bool) -> None:
    rng = np.random.default_rng(1)
    feeds = {"x": rng.standard_normal((2, 16, 9, 9)).astype(np.float32), "flag": np.array(flag)}
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    names = ["a", "b", "c", "d", "e"]
    whole.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = Session(whole.SerializeToString(), library=False)
    expected = dict(zip(names, session.run(feeds, names), strict=True))

    compressed = compressed_with(model, Options(skip_first=0, layout="nchw", weights="oihw"))
    stages = cut(compressed, 1)
    assert [stage.name for stage in stages] == names
    values = dict(feeds)
    for stage in stages:
        raw, values = stage.run(values, DENSE)
        np.testing.assert_allclose(raw, expected[stage.name], atol=1e-4)
        values = stage.finish(raw, None, values)
    assert values == {}, "nothing is kept that nobody needs"


def test_a_neutral_correction_changes_nothing(model: onnx.ModelProto) -> None:
    (first, *_) = cut(compressed_with(model, Options(skip_first=0, layout="nchw", weights="oihw")), 1)
    raw = np.random.default_rng(0).standard_normal((1, 16, 9, 9)).astype(np.float32)
    neutral = np.stack([np.ones_like(first.epilogue.bias), first.epilogue.bias])
    np.testing.assert_allclose(first.epilogue.apply(raw, neutral, {}), np.maximum(raw, 0), atol=1e-6)


def test_constant_residuals_are_told_from_values(model: onnx.ModelProto) -> None:
    stages = cut(compressed_with(model, Options(skip_first=0, layout="nchw", weights="oihw")), 1)
    residuals = {stage.name: stage.epilogue.residual for stage in stages}
    assert residuals["a"] is None
    assert isinstance(residuals["c"], str)
    np.testing.assert_array_equal(
        residuals["d"], next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "image")
    )
