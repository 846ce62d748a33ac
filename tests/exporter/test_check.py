"""What `--check` compares, and how it says what it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from haste_export import compress, reference
from haste_export.check import CheckResult, _rounding_error, check_models
from haste_export.errors import OptionError
from tests.exporter.models import filters, session, text_model

CONV = "c = Conv <pads = [1,1,1,1]> (x, w)\n"


def checked(model: onnx.ModelProto, folder: Path, **options: object) -> CheckResult:
    source = folder / "net.onnx"
    onnx.save(model, source)
    return check_models(source, compress(source, skip_first=0, select="all"), 1, **options)  # type: ignore[arg-type]


def conv_model(tail: str, outputs: str = "float[] y") -> onnx.ModelProto:
    return text_model(CONV + tail, {"w": filters(16, 16, 3, 3)}, outputs=outputs)


def test_outputs_that_are_infinite_in_both_agree(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    model = conv_model("r = Relu (c)\nz = Sub (r, r)\nlow = Log (z)\ny = Concat <axis = 1> (c, low)")
    assert checked(model, tmp_path).passed
    assert not recwarn.list


def test_infinities_of_other_signs_differ(tmp_path: Path) -> None:
    for name, sign in (("a", 1.0), ("b", -1.0)):
        model = text_model("y = Mul (x, s)", {"s": np.array(sign, np.float32)})
        onnx.save(model, tmp_path / f"{name}.onnx")
    feeds = {"x": np.full((1, 16, 9, 8), np.inf, np.float32)}
    result = check_models(tmp_path / "a.onnx", tmp_path / "b.onnx", 1, feeds=feeds)
    assert not result.passed
    assert check_models(tmp_path / "a.onnx", tmp_path / "a.onnx", 1, feeds=feeds).passed


def test_outputs_that_are_no_tensors_of_numbers(tmp_path: Path) -> None:
    model = conv_model("s = SequenceConstruct (c, x)\ni = Cast <to = 8> (x)\n")
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))
    model.graph.output.append(helper.make_tensor_value_info("i", TensorProto.STRING, [1, 16, 9, 8]))
    assert checked(model, tmp_path).passed


@pytest.mark.parametrize(("own", "passed"), [(0.0, False), (5e-5, False), (1e-4, True)])
def test_what_the_original_rounds_itself_is_allowed(
    own: float, passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haste_export.check._rounding_error", lambda *_: own)
    monkeypatch.setattr("haste_export.passes.pack.pack_weights", lambda weights: reference.pack(weights) * 1.0003)
    result = checked(conv_model("y = Relu (c)"), tmp_path)
    assert 2.5e-4 < result.dense_error < 3.5e-4
    assert result.passed == passed


def test_a_model_rounds_no_further_than_its_sums_do(tmp_path: Path) -> None:
    onnx.save(conv_model("y = Relu (c)"), tmp_path / "net.onnx")
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 16, 9, 8)).astype(np.float32)}
    expected = [
        np.asarray(value) for value in session(onnx.load(tmp_path / "net.onnx"), library=False).run(None, feeds)
    ]
    assert _rounding_error(tmp_path / "net.onnx", feeds, ["y"], expected) < 1e-6


def test_an_input_without_a_shape_asks_for_it(tmp_path: Path) -> None:
    model = conv_model("y = Relu (c)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(OptionError, match="'x' has no shape; give --input-shape"):
        checked(model, tmp_path)
    assert checked(model, tmp_path, shapes={"x": (1, 16, 7, 5)}).passed


def test_a_scalar_input_is_fed(tmp_path: Path) -> None:
    model = conv_model("y = Mul (c, s)")
    model.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, []))
    assert checked(model, tmp_path).passed


def test_what_ran_where_nothing_was_rewritten(tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(conv_model("y = Relu (c)"), source)
    assert check_models(source, source, 1).ran == "stock operators"


def test_errors_of_the_runtime_are_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "net.onnx"
    model = text_model("y = Reshape (x, s)", {"s": np.array([5, -1])}, inputs="float[1,n] x")
    onnx.save(model, source)
    with pytest.raises(Exception, match="a run failed"):
        check_models(source, source, 1, feeds={"x": np.zeros((1, 3), np.float32)})
    assert capfd.readouterr().err == ""
