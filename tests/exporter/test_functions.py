"""The fallback bodies: right, and no slower than the plain graph because the runtime folds them away."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from haste_export import compress
from haste_export.functions import Activation, ConvBody
from tests.exporter.models import (
    assert_same_function,
    filters,
    haste_convs,
    random_feeds,
    relative_error,
    run,
    text_model,
    vector,
)

NEWEST = 23  # ONNX Runtime 1.23, the last one for Python 3.10, runs no newer one
OPSETS = [7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 21, NEWEST]


def residual_net(opset: int, channels: int) -> onnx.ModelProto:
    """Two HasteConvs, the second with a residual, one with an activation and one without."""
    return text_model(
        """
        a = Conv <pads = [1,1,1,1]> (x, w1, b1)
        h = Relu (a)
        c = Conv <pads = [1,1,1,1]> (h, w2)
        y = Add (c, h)
        """,
        {"w1": filters(channels, 16, 3, 3), "b1": vector(channels), "w2": filters(channels, channels, 3, 3)},
        opset=opset,
    )


@pytest.mark.parametrize(("opset", "channels"), list(itertools.product(OPSETS, [16, 20])))
def test_residual_and_two_activations_in_every_opset(opset: int, channels: int, has_library: bool) -> None:
    model = residual_net(opset, channels)
    small = compress(model, skip_first=0, select="all")
    assert len(haste_convs(small)) == 2
    assert [node.op_type for node in small.graph.node if node.op_type in ("Relu", "Add")] == []
    assert small.opset_import[0].version == opset
    assert small.ir_version <= 9
    assert_same_function(model, small, library=has_library)


ACTIVATIONS = {
    "Relu": ("y = Relu (c)", 7),
    "LeakyRelu": ("y = LeakyRelu <alpha = 0.125> (c)", 7),
    "Sigmoid": ("y = Sigmoid (c)", 7),
    "Silu": ("s = Sigmoid (c)\n y = Mul (s, c)", 7),
    "Clip attributes": ("y = Clip <min = -0.25, max = 0.5> (c)", 7),
    "Clip inputs": ("y = Clip (c, low, high)", 11),
    "HardSwish": ("y = HardSwish (c)", 14),
    "HardSwish by HardSigmoid": ("s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (c)\n y = Mul (c, s)", 7),
}


def activation_cases() -> list[tuple[str, int]]:
    """Every form in every opset that has it."""
    opsets = (7, 10, 11, 13, 14, NEWEST)
    cases = [(name, opset) for name, (_, since) in ACTIVATIONS.items() for opset in opsets if opset >= since]
    return [(name, opset) for name, opset in cases if name != "Clip attributes" or opset < 11]


@pytest.mark.parametrize(("name", "opset"), activation_cases())
def test_every_activation_in_its_opsets(name: str, opset: int, has_library: bool) -> None:
    text, _ = ACTIVATIONS[name]
    bounds = {"low": np.array(-0.25, np.float32), "high": np.array(0.5, np.float32)} if name == "Clip inputs" else {}
    model = text_model(
        f"c = Conv <pads = [1,1,1,1]> (x, w)\n{text}", {"w": filters(16, 16, 3, 3), **bounds}, opset=opset
    )
    small = compress(model, skip_first=0, select="all")
    assert [node.op_type for node in small.graph.node] == ["HasteConv"]
    assert_same_function(model, small, library=has_library)


def test_all_activations_in_one_model(has_library: bool) -> None:
    values = ["x"]
    lines = []
    for place, (text, since) in enumerate(value for key, value in ACTIVATIONS.items() if key != "Clip attributes"):
        assert since <= 17
        renamed = text.replace("s =", f"s{place} =").replace("(s,", f"(s{place},").replace(", s)", f", s{place})")
        lines.append(f"c{place} = Conv <pads = [1,1,1,1]> ({values[-1]}, w)")
        lines.append(renamed.replace("(c", f"(c{place}").replace(", c)", f", c{place})").replace("y =", f"y{place} ="))
        values.append(f"y{place}")
    lines.append(f"y = Conv <pads = [1,1,1,1]> ({values[-1]}, w)")
    constants = {"low": np.array(-0.25, np.float32), "high": np.array(0.5, np.float32), "w": filters(16, 16, 3, 3)}
    model = text_model("\n".join(lines), constants)
    small = compress(model, skip_first=0, select="all")
    assert len(small.graph.node) == len(haste_convs(small)) == 8
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize("opset", [12, 13, 17, NEWEST])
def test_the_reference_evaluator_agrees(opset: int) -> None:
    # Below opset 12 onnx's own evaluator cannot run a Constant whose value is a parameter of the function.
    model = residual_net(opset, 20)
    small = compress(model, skip_first=0, select="all")
    feeds = random_feeds(model)
    steered = {**feeds, "haste_hyperplanes": np.array(14)}
    computed = ReferenceEvaluator(small).run(None, steered)
    assert isinstance(computed, list)
    assert relative_error(run(model, feeds), computed) < 1e-5


@pytest.mark.parametrize("opset", [7, 9, 11, 13, NEWEST])
def test_the_runtime_folds_the_body_into_what_it_makes_of_the_original(opset: int, tmp_path: Path) -> None:
    model = residual_net(opset, 32)
    original = optimized_ops(model, tmp_path / "original.onnx")
    body = optimized_ops(compress(model, skip_first=0, select="all"), tmp_path / "body.onnx")
    assert body == original
    assert "If" not in body
    assert "Transpose" not in body


def optimized_ops(model: onnx.ModelProto, path: Path) -> list[str]:
    """Operators that ONNX Runtime runs in the end."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return sorted(node.op_type for node in onnx.load(path).graph.node)


def test_an_unknown_activation_is_refused() -> None:
    body = ConvBody(17, (Activation("Softmax"),), packed=False, partial=False, residual=False, bounded=False)
    with pytest.raises(ValueError, match="no activation 'Softmax'"):
        body.function()


@pytest.mark.parametrize("value", [1e-20, -3.4028234663852886e38, 1e22, 0.0, 123456.75])
def test_numbers_survive_the_text_form(value: float) -> None:
    body = ConvBody(
        17, (Activation("LeakyRelu", (value,)),), packed=False, partial=False, residual=False, bounded=False
    )
    (attribute,) = body.function().node[-1].attribute
    assert attribute.f == np.float32(value)
