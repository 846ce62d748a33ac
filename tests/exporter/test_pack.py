from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from haste_export import compress
from haste_export.compiler import compress_with_report
from haste_export.reference import pack
from tests.exporter.models import (
    assert_same_function,
    attributes,
    filters,
    haste_convs,
    initializer,
    random_feeds,
    run,
    text_model,
)


@settings(deadline=None, max_examples=60)
@given(m=st.integers(1, 40), c=st.integers(1, 9), kh=st.integers(1, 5), kw=st.integers(1, 5))
def test_packed_place_of_every_weight(m: int, c: int, kh: int, kw: int) -> None:
    weights = np.arange(1, m * c * kh * kw + 1, dtype=np.float32).reshape(m, c, kh, kw)
    packed = pack(weights)
    assert packed.shape == (-(-m // 16), c, kh * kw, 16)
    assert packed.flags.c_contiguous
    for index in np.ndindex(*weights.shape):
        row, channel, y, x = index
        assert packed[row // 16, channel, y * kw + x, row % 16] == weights[index]
    assert np.count_nonzero(packed) == weights.size


def test_shared_weights_are_packed_once(has_library: bool) -> None:
    model = text_model(
        "a = Conv <pads = [1,1,1,1]> (x, w)\n b = Relu (a)\n y = Conv <pads = [1,1,1,1]> (b, w)",
        {"w": filters(16, 16, 3, 3)},
    )
    small = compress(model, skip_first=0, select="all")
    first, second = haste_convs(small)
    assert first.input[1] == second.input[1]
    assert initializer(small, first.input[1]).shape == (1, 16, 9, 16)
    assert all(tensor.name != "w" for tensor in small.graph.initializer)
    assert_same_function(model, small, library=has_library)


def test_weights_that_a_plain_conv_shares_stay_beside_the_packed_ones(has_library: bool) -> None:
    model = text_model(
        "a = Conv <pads = [1,1,1,1]> (x, w)\n y = Conv <pads = [1,1,1,1], strides = [2,2]> (a, w)",
        {"w": filters(16, 16, 3, 3)},
    )
    small = compress(model, skip_first=0, select="all")
    assert any(tensor.name == "w" for tensor in small.graph.initializer)
    assert_same_function(model, small, library=has_library)


def test_weights_that_a_plain_conv_shares_go_into_external_data(tmp_path: Path) -> None:
    for seed in (0, 1):  # the second result replaces the first, whose weights lie where its own are to be written
        model = text_model(
            "a = Conv <pads = [1,1,1,1]> (x, w)\n y = Conv <pads = [1,1,1,1], strides = [2,2]> (a, w)",
            {"w": filters(16, 16, 3, 3, seed=seed)},
        )
        onnx.save(model, tmp_path / "net.onnx")
        target = compress(tmp_path / "net.onnx", external_data=True, skip_first=0, select="all")
        feeds = random_feeds(model)
        assert np.allclose(run(model, feeds)[0], run(onnx.load(target), feeds)[0], atol=1e-5)


def test_oihw_weights_keep_their_form(has_library: bool) -> None:
    model = text_model("y = Conv <pads = [1,1,1,1]> (x, w)", {"w": filters(20, 16, 3, 3)})
    small = compress(model, skip_first=0, select="all", weights="oihw")
    (node,) = haste_convs(small)
    assert attributes(node)["w_layout"] == "OIHW"
    assert initializer(small, node.input[1]).shape == (20, 16, 3, 3)
    assert_same_function(model, small, library=has_library)


CHAIN = "a = Conv <pads = [1,1,1,1]> (x, w)\n b = Relu (a)\n c = Conv (b, v)\n y = Conv <pads = [1,1,1,1]> (c, u)"


def chain(**weights: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """Three convolutions; M of the second is no multiple of 16."""
    return text_model(
        CHAIN, {"w": filters(32, 16, 3, 3), "v": filters(20, 32, 1, 1), "u": filters(16, 20, 3, 3)} | weights
    )


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every constant rounded to float16."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copy


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 13, 17, 21])
def test_half_weights_compute_what_rounded_ones_compute(has_library: bool, opset: int) -> None:
    model = chain()
    model.opset_import[0].version = opset
    small = compress(model, skip_first=0, select="all", weights="fp16")
    assert [initializer(small, node.input[1]).dtype for node in haste_convs(small)] == [np.float16] * 3
    assert_same_function(rounded(model), small, library=has_library, tolerance=1e-6)


def test_half_weights_give_the_bits_of_rounded_ones_at_every_level(has_library: bool) -> None:
    if not has_library:
        pytest.skip("the library is not built")
    model = chain()
    feeds = random_feeds(model)
    half = compress(model, skip_first=0, select="all", weights="fp16")
    single = compress(rounded(model), skip_first=0, select="all")
    for count in (0, 3, 14):
        steered = {**feeds, "haste_hyperplanes": np.array(count, np.int64)}
        (a,), (b,) = (run(small, steered, library=True) for small in (half, single))
        assert np.array_equal(a.view(np.uint32), b.view(np.uint32))


def test_half_weights_take_half_the_file(tmp_path: Path) -> None:
    onnx.save(text_model("y = Conv <pads = [1,1,1,1]> (x, w)", {"w": filters(512, 16, 3, 3)}), tmp_path / "net.onnx")
    sizes = {}
    for weights in ("packed", "fp16"):
        for external in (False, True):
            out = tmp_path / f"{weights}{external}.onnx"
            options: dict[str, Any] = {"skip_first": 0, "select": "all", "weights": weights, "external_data": external}
            _, report = compress_with_report(tmp_path / "net.onnx", out, **options)
            files = [out, *([Path(f"{out}.data")] if external else [])]
            sizes[weights, external] = sum(file.stat().st_size for file in files)
            assert report.weight_bytes_float32 == 512 * 16 * 9 * 4
            assert report.weight_bytes == report.weight_bytes_float32 // (2 if weights == "fp16" else 1)
    assert sizes["packed", False] - sizes["fp16", False] == pytest.approx(512 * 16 * 9 * 2, rel=0.01)
    assert sizes["packed", True] - sizes["fp16", True] == pytest.approx(512 * 16 * 9 * 2, rel=0.01)


@pytest.mark.parametrize(
    ("weights", "because"),
    [
        (filters(32, 16, 3, 3) * np.float32(1e6), "float16 ends at 65504"),
        (np.where(np.arange(9).reshape(3, 3) == 4, np.float32(np.inf), filters(32, 16, 3, 3)), "not all finite"),
        (filters(32, 16, 3, 3) * np.float32(1e-5), "many underflow in float16"),
    ],
)
def test_weights_that_float16_would_harm_stay(
    has_library: bool, weights: npt.NDArray[np.float32], because: str
) -> None:
    model = chain(w=weights)
    small, report = compress_with_report(model, skip_first=0, select="all", weights="fp16")
    layers = report.layers
    assert [layer.weight_type for layer in layers] == ["float32", "float16", "float16"]
    assert because in str(layers[0].float32_because)
    assert "its weights stay float32: " in layers[0].sentence
    assert [layer.float32_because for layer in layers[1:]] == [None, None]
    stored = sum(initializer(small, node.input[1]).nbytes for node in haste_convs(small))
    assert report.weight_bytes == sum(layer.weight_bytes or 0 for layer in layers) == stored
    if np.isfinite(weights).all():
        assert_same_function(model, small, library=has_library, tolerance=1e-3)


def test_a_few_small_weights_do_no_harm() -> None:
    weights = filters(32, 16, 3, 3)
    weights[5] *= np.float32(1e-7)  # a filter that does nothing, as training leaves some
    _, report = compress_with_report(chain(w=weights), skip_first=0, select="all", weights="fp16")
    assert [layer.weight_type for layer in report.layers] == ["float16"] * 3


def test_shared_half_weights_are_stored_and_counted_once(has_library: bool) -> None:
    model = text_model(
        "a = Conv <pads = [1,1,1,1]> (x, w)\n b = Relu (a)\n y = Conv <pads = [1,1,1,1]> (b, w)",
        {"w": filters(16, 16, 3, 3)},
    )
    small, report = compress_with_report(model, skip_first=0, select="all", weights="fp16")
    first, second = haste_convs(small)
    assert first.input[1] == second.input[1]
    assert report.weight_bytes == 16 * 16 * 9 * 2
    assert_same_function(rounded(model), small, library=has_library)
