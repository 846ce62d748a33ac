"""Convs inside local functions: the functions are inlined, or the report says why not."""

from __future__ import annotations

import onnx
import pytest

from haste_export import compress_with_report
from haste_export.errors import UnsupportedModelError
from haste_export.report import Report
from tests.exporter.models import (
    assert_same_function,
    attributes,
    filters,
    haste_convs,
    op_types,
    text_model,
    vector,
)

PADS = "pads = [1,1,1,1]"


def function(name_and_body: str, opset: int = 17) -> str:
    """A local function of the domain `test`."""
    return f'<domain: "test", opset_import: ["": {opset}, "test": 1]>\n{name_and_body}\n'


BLOCK = function(f"block (x, w) => (y) {{\n [inner] y = Conv <{PADS}> (x, w)\n}}")


def compressed(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Report]:
    return compress_with_report(model, skip_first=0, select="all")


def net(body: str, functions: str) -> onnx.ModelProto:
    """A model with 16 channels throughout; `w` and `v` are filters."""
    used = {name: filters(16, 16, 3, 3, seed=seed) for seed, name in enumerate("wv") if f", {name})" in body}
    return text_model(body, used, functions=functions, outputs="float[1,16,9,8] y")


def test_every_call_becomes_a_layer_of_its_own(has_library: bool) -> None:
    model = net("a = test.block (x, w)\nr = Relu (a)\ny = test.block (r, v)", BLOCK)
    small, report = compressed(model)
    assert [layer.name for layer in report.layers] == ["inner", "inner_2"]
    assert [(node.op_type, attributes(node)["activation"]) for node in small.graph.node] == [
        ("HasteConv", "Relu"), ("HasteConv", ""),
    ]  # fmt: skip
    assert not [each for each in small.functions if each.domain == "test"]
    assert_same_function(model, small, library=has_library)


def test_modules_that_are_functions_are_folded_and_fused(has_library: bool) -> None:
    """What a PyTorch export with modules as functions looks like: functions in functions, no names."""
    functions = (
        function(f"Conv2d (x, w) => (y) {{ y = Conv <{PADS}> (x, w) }}")
        + function("BatchNorm (x, s, b, m, v) => (y) { y = BatchNormalization (x, s, b, m, v) }")
        + function("ReLU (x) => (y) { y = Relu (x) }")
        + function(
            "Block (x, w, s, b, m, v) => (y) "
            "{ c = test.Conv2d (x, w)\nn = test.BatchNorm (c, s, b, m, v)\ny = test.ReLU (n) }"
        )
    )
    model = text_model(
        "a = test.Block (x, w, s, b, m, q)\ny = test.Block (a, w, s, b, m, q)",
        {"w": filters(16, 16, 3, 3), "q": vector(16, low=0.5), **{name: vector(16) for name in "sbm"}},
        functions=functions,
        outputs="float[1,16,9,8] y",
    )
    small, report = compressed(model)
    assert op_types(small) == ["HasteConv", "HasteConv"]
    assert [attributes(node)["activation"] for node in haste_convs(small)] == ["Relu", "Relu"]
    assert [layer.name for layer in report.layers] == ["Conv", "Conv_2"]
    assert_same_function(model, small, library=has_library)


@pytest.mark.parametrize(
    ("body", "functions"),
    [
        pytest.param(
            "y = test.block <slope = 0.3> (x, w)",
            function(
                "block <slope, other: float = 0.7> (x, w) => (y) {\n"
                f"c = Conv <{PADS}> (x, w)\nd = LeakyRelu <alpha: float = @slope> (c)\n"
                "y = Elu <alpha: float = @other> (d)\n}"
            ),
            id="attributes and their defaults",
        ),
        pytest.param(
            "low = Constant <value = float {0.1}> ()\na = test.block (x, w)\ny = test.block (a, w, low)",
            function(f"block (x, w, low) => (y) {{ c = Conv <{PADS}> (x, w)\ny = Clip (c, low) }}"),
            id="an input that one call leaves out",
        ),
        pytest.param(
            '"", y = test.block (x, w)',
            function(f"block (x, w) => (c, y) {{ c = Conv <{PADS}> (x, w)\ny = Relu (c) }}"),
            id="an output that the call leaves out",
        ),
        pytest.param(
            "c = Relu (x)\nn = Neg (c)\ny = test.block (n, w)",
            function(f"block (x, w) => (y) {{ n = Conv <{PADS}> (x, w)\nc = Relu (n)\ny = Sub (c, n) }}"),
            id="names that the graph has too",
        ),
        pytest.param(
            """flag = Constant <value = bool {1}> ()
            k = test.block (x, w)
            y = If (flag) <
              then_branch = yes () => (float[1,16,9,8] t) { n = Abs (x)\nt = Add (n, k) },
              else_branch = no () => (float[1,16,9,8] e) { e = Identity (k) }>""",
            function(f"block (x, w) => (y) {{ n = Conv <{PADS}> (x, w)\ny = Mul (n, n) }}"),
            id="names that a branch has too",
        ),
        pytest.param(
            """flag = Constant <value = bool {1}> ()
            y = If (flag) <
              then_branch = yes () => (float[1,16,9,8] t) { t = test.block (x, w) },
              else_branch = no () => (float[1,16,9,8] e) { e = Identity (x) }>""",
            BLOCK,
            id="a call in a branch",
        ),
    ],
)  # fmt: skip
def test_the_model_computes_the_same(body: str, functions: str, has_library: bool) -> None:
    model = net(body, functions)
    small, report = compressed(model)
    assert report.rewritten
    assert not report.left
    assert_same_function(model, small, library=has_library)


def test_a_branch_inside_a_function(has_library: bool) -> None:
    body = function(
        f"""block (x, w, flag) => (y) {{
            c = Conv <{PADS}> (x, w)
            y = If (flag) <then_branch = yes () => (float[1,16,9,8] t) {{ t = Relu (c) }},
                           else_branch = no () => (float[1,16,9,8] e) {{ e = Identity (x) }}> }}"""
    )
    model = net("on = Constant <value = bool {1}> ()\na = test.block (x, w, on)\ny = test.block (a, v, on)", body)
    for name, seed in (("w", 0), ("v", 1)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(filters(16, 16, 3, 3, seed=seed), name))
    small, report = compressed(model)
    assert len(report.rewritten) == 2
    assert_same_function(model, small, library=has_library)


def test_functions_without_a_conv_stay_as_they_are(has_library: bool) -> None:
    model = net(f"c = Conv <{PADS}> (x, w)\ny = test.act (c)", function("act (x) => (y) { y = Relu (x) }"))
    small, _ = compressed(model)
    assert op_types(small) == ["HasteConv", "act"]
    assert_same_function(model, small, library=has_library)


def test_a_function_of_another_opset_stays_with_what_it_calls(has_library: bool) -> None:
    functions = (
        function(f"old (x, w) => (y) {{ [first] c = Conv <{PADS}> (x, w)\ny = test.called (c, w) }}", opset=13)
        + function(f"called (x, w) => (y) {{ [second] y = Conv <{PADS}> (x, w) }}")
        + BLOCK
    )
    model = net("a = test.old (x, w)\ny = test.block (a, w)", functions)
    small, report = compressed(model)
    assert op_types(small) == ["old", "HasteConv"]
    assert {layer.name: layer.reason for layer in report.left} == {
        "first": "it is inside the local function 'old', which uses opset 13, and the model uses 17",
        "second": "it is inside the local function 'called', which is called by 'old', which cannot be inlined",
    }
    assert_same_function(model, small, library=has_library)


def test_a_function_that_nothing_calls_is_named() -> None:
    model = net(f"y = Conv <{PADS}> (x, w)", BLOCK)
    _, report = compressed(model)
    assert report.layer("inner").reason == "it is inside the local function 'block', which nothing calls"


def test_a_function_that_returns_what_it_was_given_stays() -> None:
    """No runtime takes it; it must not end in a model whose input has another name."""
    model = net("a, y = test.pass (x, w)", function(f"pass (x, w) => (x, y) {{ y = Conv <{PADS}> (x, w) }}"))
    small, report = compressed(model)
    assert "returns a value twice, or one that it was given" in str(report.layers[0].reason)
    assert small == model


def test_functions_that_call_each_other_in_a_circle() -> None:
    functions = function(f"a (x, w) => (y) {{ c = Conv <{PADS}> (x, w)\ny = test.b (c, w) }}") + function(
        "b (x, w) => (y) { y = test.a (x, w) }"
    )
    with pytest.raises(UnsupportedModelError, match="call each other in a circle"):
        compressed(net("y = test.a (x, w)", functions))


def test_the_original_stays_where_nothing_is_rewritten() -> None:
    model = net("y = test.block (x, w)", BLOCK.replace(PADS, f"{PADS}, strides = [2,2]"))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    small, report = compressed(model)
    assert not report.rewritten
    assert small == model
