"""HasteMaxPool, HasteAveragePool and HasteReorder against ONNX Runtime's pools, in every layout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from haste_export.reference import Float32, Pads
from tests.operator import native
from tests.operator.backends import Backend
from tests.operator.bounds import gamma
from tests.operator.c_api import PoolParams
from tests.operator.native import ParallelFor
from tests.operator.onnx_models import model, session
from tests.operator.threads import examples

LAYOUTS = [(x, y) for x in ("NCHW", "blocked") for y in ("NCHW", "blocked")]


@dataclass(frozen=True)
class PoolCase:
    """One pool and one input."""

    is_max: bool
    kernel: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    pads: Pads = (0, 0, 0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = False
    shape: tuple[int, int, int, int] = (1, 16, 7, 9)
    seed: int = 0

    def params(self) -> PoolParams:
        numbers = (*self.kernel, *self.strides, *self.pads)
        return PoolParams(self.is_max, self.count_include_pad, *numbers, self.ceil_mode)

    def valid(self) -> bool:
        """ONNX Runtime refuses pads as large as the kernel; an output needs at least one window."""
        top, left, bottom, right = self.pads
        small = max(top, bottom) < self.kernel[0] and max(left, right) < self.kernel[1]
        return (
            small and self.shape[2] + top + bottom >= self.kernel[0] and self.shape[3] + left + right >= self.kernel[1]
        )


@lru_cache(maxsize=256)
def onnx_pool(case: PoolCase) -> onnxruntime.InferenceSession:
    node = helper.make_node(
        "MaxPool" if case.is_max else "AveragePool",
        ["X"],
        ["Y"],
        kernel_shape=case.kernel,
        strides=case.strides,
        pads=list(case.pads),
        ceil_mode=int(case.ceil_mode),
    )
    if not case.is_max:
        node.attribute.append(helper.make_attribute("count_include_pad", int(case.count_include_pad)))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in "XY")
    return session(model([node], [x], [y]))


def draw(case: PoolCase) -> Float32:
    return np.random.default_rng(case.seed).standard_normal(case.shape).astype(np.float32)


def check_pool(case: PoolCase, backend: Backend) -> None:
    x = draw(case)
    (expected,) = onnx_pool(case).run(None, {"X": x})
    # Both average the same numbers in orders of their own; of magnitudes at most the largest in sight.
    allowed = 0.0 if case.is_max else 2 * gamma(case.kernel[0] * case.kernel[1] + 1) * float(np.abs(x).max())
    for variant in backend.variants:
        for layouts in LAYOUTS if case.shape[1] % 16 == 0 else LAYOUTS[:1]:
            y = backend.pool(x, case.params(), layouts, variant)
            assert y.shape == expected.shape, f"{case} {layouts}: shape {y.shape}, expected {expected.shape}"
            worst = float(np.abs(y - expected).max(initial=0))
            assert worst <= allowed, f"{variant} {case} {layouts}: off by {worst:.3g}, allowed {allowed:.3g}"


@st.composite
def pool_cases(draw_: st.DrawFn) -> PoolCase:
    kernel = draw_(st.sampled_from(((2, 2), (3, 3), (1, 3), (3, 2), (5, 5), (7, 7), (1, 1))))
    pad = st.integers(0, 3)
    pads = tuple(min(draw_(pad), kernel[axis % 2] - 1) for axis in range(4))
    return PoolCase(
        is_max=draw_(st.booleans()),
        kernel=kernel,
        strides=(draw_(st.integers(1, 3)), draw_(st.integers(1, 3))),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        ceil_mode=draw_(st.booleans()),
        count_include_pad=draw_(st.booleans()),
        shape=(
            draw_(st.integers(1, 2)),
            draw_(st.sampled_from((1, 3, 16, 17, 32))),
            draw_(st.integers(1, 14)),
            draw_(st.integers(1, 14)),
        ),
        seed=draw_(st.integers(0, 2**31)),
    )


@settings(max_examples=examples(200))
@given(case=pool_cases())
def test_any_pool(backend: Backend, case: PoolCase) -> None:
    if case.valid():
        check_pool(case, backend)


@pytest.mark.parametrize("is_max", [True, False])
@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("count_include_pad", [True, False])
def test_pools_of_networks(backend: Backend, is_max: bool, ceil_mode: bool, count_include_pad: bool) -> None:
    pads = (1, 1, 1, 1)
    check_pool(PoolCase(is_max, (3, 3), (2, 2), pads, ceil_mode, count_include_pad, (2, 32, 14, 15)), backend)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("is_max", [True, False])
@pytest.mark.parametrize("layouts", LAYOUTS)
def test_threads(is_max: bool, layouts: tuple[str, str], parallel: ParallelFor | None, isa: str) -> None:
    """Give the bits of a run without them."""
    case = PoolCase(is_max, (3, 3), (2, 2), (1, 1, 1, 1), shape=(3, 48, 14, 15))
    x = draw(case)
    assert (native.pool(x, case.params(), layouts, parallel) == native.pool(x, case.params(), layouts)).all(), isa
    assert (native.reorder(x, layouts, parallel) == x).all(), isa


NAN = float("nan")


@pytest.mark.parametrize("window", [(NAN, 1, 2, 3), (1, NAN, 2, 3), (3, 2, 1, NAN), (NAN,) * 4])
@pytest.mark.parametrize("is_max", [True, False])
def test_nan_is_not_lost(backend: Backend, is_max: bool, window: tuple[float, ...]) -> None:
    """ONNX says nothing of it, and ONNX Runtime's maximum depends on where in the window it stands."""
    x = np.broadcast_to(np.array(window, np.float32).reshape(2, 2), (1, 16, 2, 2))
    for variant in backend.variants:
        assert np.isnan(backend.pool(x, PoolCase(is_max).params(), ("NCHW", "NCHW"), variant)).all(), variant


def test_max_of_negative_values_ignores_the_padding(backend: Backend) -> None:
    x = np.full((1, 16, 3, 3), -5, np.float32)
    y = backend.pool(x, PoolCase(True, (3, 3), (1, 1), (1, 1, 1, 1)).params(), ("blocked", "NCHW"))
    assert (y == -5).all()


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("channels", [16, 48])
@pytest.mark.parametrize("layouts", LAYOUTS)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 33), (16, 16)])
def test_reorder_is_the_identity(
    backend: Backend, batch: int, channels: int, layouts: tuple[str, str], size: tuple[int, int]
) -> None:
    x = np.random.default_rng(1).standard_normal((batch, channels, *size)).astype(np.float32)
    for variant in backend.variants:
        assert (backend.reorder(x, layouts, variant) == x).all(), variant


def test_reorder_of_any_channels_within_nchw(backend: Backend) -> None:
    x = np.random.default_rng(1).standard_normal((2, 5, 3, 4)).astype(np.float32)
    assert (backend.reorder(x, ("NCHW", "NCHW")) == x).all()


def test_empty_batch(backend: Backend) -> None:
    y = backend.pool(np.zeros((0, 16, 4, 4), np.float32), PoolCase(True).params(), ("NCHW", "NCHW"))
    assert y.shape == (0, 16, 2, 2)
