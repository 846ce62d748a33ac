import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haste_export.dims import Dims
from haste_export.passes.infer_shapes import InferShapes
from tests.exporter.models import filters, random_feeds, run, text_model


@settings(deadline=None, max_examples=40)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    dilation=st.integers(1, 2),
    size=st.integers(12, 24),
)
def test_expressions_agree_with_the_runtime(
    kernel: int, stride: int, before: int, after: int, dilation: int, size: int
) -> None:
    """Expressions in h, evaluated at a size, are the sizes that ONNX Runtime computes."""
    window = f"strides = [{stride},1], pads = [{before},1,{after},1], dilations = [{dilation},1]"
    model = text_model(
        f"a = Conv <{window}> (x, w)\nb = Relu (a)\ny = Conv (b, v)",
        {"w": filters(4, 4, kernel, 3), "v": filters(4, 4, 1, 1)},
        inputs="float[n,4,h,w_] x",
    )
    graph = ir.from_proto(model).graph
    sizes = Dims().of(graph.outputs[0])
    assert sizes is not None
    feeds = random_feeds(model, dynamic=size)
    (y,) = run(model, feeds)
    names = {"n": size, "h": size, "w_": size}
    assert tuple(eval(str(dim), {}, names) for dim in sizes) == y.shape


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("a = Relu (x)", "b = Sigmoid (x)", True),
        ("a = Conv <pads=[1,1,1,1]> (x, w)", "b = Identity (x)", True),
        ("a = Conv (x, w)", "b = Identity (x)", False),
        ("a = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w)", "b = Conv <strides=[2,2]> (x, p)", True),
        ("a = Conv <pads=[0,0,0,0], strides=[2,2]> (x, w)", "b = Conv <strides=[2,2]> (x, p)", False),
        ("a = Conv <auto_pad=\"SAME_UPPER\", strides=[2,2]> (x, w)", "b = Conv <strides=[2,2]> (x, p)", True),
        ("a = Conv <auto_pad=\"VALID\"> (x, w)", "b = Conv (x, w)", True),
        ("a = MaxPool <kernel_shape=[3,3], pads=[1,1,1,1]> (x)", "b = Add (x, x)", True),
        ("a = MaxPool <kernel_shape=[2,2], ceil_mode=1, strides=[2,2]> (x)",
         "b = MaxPool <kernel_shape=[2,2], strides=[2,2]> (x)", False),
        ("a = Mul (x, k)", "b = Identity (x)", True),
    ],
)  # fmt: skip
def test_equal_sizes_are_proved_and_others_are_not(a: str, b: str, same: bool) -> None:
    model = text_model(
        f"{a}\n{b}", {"w": filters(4, 4, 3, 3), "p": filters(4, 4, 1, 1), "k": filters(4, 1, 1)},
        inputs="float[n,4,h,w_] x", outputs="float[] a, float[] b",
    )  # fmt: skip
    inferred = ir.from_proto(model)
    InferShapes()(inferred)
    first, second = inferred.graph.outputs
    assert Dims().same_shape(first, second) is same


def test_unknown_sizes_equal_only_themselves() -> None:
    model = text_model("a = Relu (x)\nb = Relu (z)", inputs="float[1,4,?,?] x, float[1,4,?,?] z",
                       outputs="float[] a, float[] b")  # fmt: skip
    first, second = ir.from_proto(model).graph.outputs
    dims = Dims()
    assert dims.same_shape(first, first)
    assert not dims.same_shape(first, second)


def test_deep_networks_do_not_exhaust_the_stack() -> None:
    lines = ["v0 = Relu (x)", *(f"v{i} = Relu (v{i - 1})" for i in range(1, 3000)), "y = Relu (v2999)"]
    graph = ir.from_proto(text_model("\n".join(lines))).graph
    assert Dims().of(graph.outputs[0]) == (1, 16, 9, 8)
