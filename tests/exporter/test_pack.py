import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from haste_export import compress
from haste_export.passes.pack import pack_weights, unpack_weights
from tests.exporter.models import assert_same_function, attributes, filters, haste_convs, initializer, text_model


@settings(deadline=None, max_examples=60)
@given(m=st.integers(1, 40), c=st.integers(1, 9), kh=st.integers(1, 5), kw=st.integers(1, 5))
def test_packed_place_of_every_weight(m: int, c: int, kh: int, kw: int) -> None:
    weights = np.arange(1, m * c * kh * kw + 1, dtype=np.float32).reshape(m, c, kh, kw)
    packed = pack_weights(weights)
    assert packed.shape == (-(-m // 16), c, kh * kw, 16)
    assert packed.flags.c_contiguous
    for index in np.ndindex(*weights.shape):
        row, channel, y, x = index
        assert packed[row // 16, channel, y * kw + x, row % 16] == weights[index]
    assert np.count_nonzero(packed) == weights.size
    assert (unpack_weights(packed, (m, c, kh, kw)) == weights).all()


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


def test_oihw_weights_keep_their_form(has_library: bool) -> None:
    model = text_model("y = Conv <pads = [1,1,1,1]> (x, w)", {"w": filters(20, 16, 3, 3)})
    small = compress(model, skip_first=0, select="all", weights="oihw")
    (node,) = haste_convs(small)
    assert attributes(node)["w_layout"] == "OIHW"
    assert initializer(small, node.input[1]).shape == (20, 16, 3, 3)
    assert_same_function(model, small, library=has_library)
