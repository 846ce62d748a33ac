"""The cost formulas against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from haste_export.flops import (
    Compression,
    LayerCost,
    LayerShape,
    layer_cost,
    model_cost,
    plain_layer,
    regular_cost,
)

# 4 -> 8 channels, 6x6 output, 3x3 kernel, p = 3: n = 4 patches, q = 5, q^2 = 25, K^2 = 9.
SMALL = LayerShape(in_channels=4, out_channels=8, out_h=6, out_w=6, kernel_h=3, kernel_w=3)
HALF = Compression(r=0.5, m=1.5)


def test_every_term_by_hand() -> None:
    cost = layer_cost(SMALL, HALF, hyperplanes=10, sparsity=0.5, merge="mean")
    assert cost == LayerCost(
        regular=20736,  # 2 * 6 * 6 * 9 * 4 * 8
        centring=800,  # 2 * 4 * 4 * 25
        hashing=2000,  # 4 * 4 * 10 * 25 * 0.5
        coefficients=0,
        merge_inputs=350,  # 4 * 25 * (4 * 0.5 + 1.5)
        merge_filters=576,  # 4 * 8 * 4 * 0.5 * 9
        reduced_convolution=10368,  # 2 * 6 * 6 * 9 * 4 * 0.5 * 8
    )
    assert cost.overhead == 800 + 2000 + 350 + 576
    assert cost.haste == 14094
    assert cost.reduction == pytest.approx(1 - 14094 / 20736)


def test_scaled_pays_for_its_multiplications() -> None:
    mean = layer_cost(SMALL, HALF, 10, 0.5, "mean")
    scaled = layer_cost(SMALL, HALF, 10, 0.5, "scaled")
    assert scaled == replace(mean, coefficients=1600, merge_filters=1152)  # 4 * 4 * 4 * 25, and twice 576
    assert layer_cost(SMALL, HALF, 10, 0.5, "norm") == scaled
    assert (mean.haste, scaled.haste) == (14094, 16270)
    assert (round(mean.reduction, 3), round(scaled.reduction, 3)) == (0.32, 0.215)


def test_output_that_p_does_not_divide() -> None:
    """7x5 outputs need 3x2 patches of 3x3; the convolutions are counted on the 7x5 that exist."""
    shape = LayerShape(2, 3, 7, 5, 3, 3)
    cost = layer_cost(shape, Compression(0.25, 0.5), 4, 0.75, "mean")
    assert shape.patches == 6
    assert cost == LayerCost(
        regular=3780,  # 2 * 7 * 5 * 9 * 2 * 3
        centring=600,  # 2 * 6 * 2 * 25
        hashing=300,  # 6 * 2 * 4 * 25 * 0.25
        coefficients=0,
        merge_inputs=150,  # 6 * 25 * (2 * 0.25 + 0.5)
        merge_filters=81,  # 6 * 3 * 2 * 0.25 * 9
        reduced_convolution=2835,  # 3780 * 0.75
    )


def test_kernels_that_are_not_square() -> None:
    """1x5 at p = 2: K^2 becomes 5, q^2 becomes 2 * 6 = 12; 4x4 outputs are four patches."""
    shape = LayerShape(10, 20, 4, 4, 1, 5, patch=2)
    assert (shape.taps, shape.window, shape.patches) == (5, 12, 4)
    cost = layer_cost(shape, Compression(0.4, 2), 3, 0, "scaled")
    assert cost == LayerCost(
        regular=32000,  # 2 * 4 * 4 * 5 * 10 * 20
        centring=960,  # 2 * 4 * 10 * 12
        hashing=1440,  # 4 * 10 * 3 * 12
        coefficients=1920,  # 4 * 4 * 10 * 12
        merge_inputs=288,  # 4 * 12 * (4 + 2)
        merge_filters=3200,  # 2 * 4 * 20 * 4 * 5
        reduced_convolution=19200,  # 32000 * 0.6
    )


def test_pointwise_kernel() -> None:
    """1x1: windows do not overlap, q = p."""
    shape = LayerShape(64, 128, 9, 9, 1, 1)
    assert (shape.taps, shape.window, shape.patches) == (1, 9, 9)
    assert regular_cost(shape) == 2 * 81 * 64 * 128


def test_nothing_merged_only_costs() -> None:
    cost = layer_cost(SMALL, Compression(0, 0), 10, 0.5, "mean")
    assert cost.reduced_convolution == cost.regular
    assert cost.merge_inputs == cost.merge_filters == 0
    assert cost.reduction < 0


@pytest.mark.parametrize("hyperplanes", [0, -1])
def test_dense_mode_is_the_plain_convolution(hyperplanes: int) -> None:
    cost = layer_cost(SMALL, HALF, hyperplanes, 0.5)
    assert cost == plain_layer(SMALL)
    assert cost.haste == cost.regular == 20736
    assert cost.reduction == 0


def test_compression_from_statistics() -> None:
    """8 patches of 4 channels became 24 buckets, 10 of them with more than one member."""
    compression = Compression.from_stats([8, 32, 24, 10, 1, 2, 18, 0])
    assert compression == Compression(r=0.25, m=1.25)


def test_statistics_of_the_fallback_body() -> None:
    with pytest.raises(ValueError, match="did not run"):
        Compression.from_stats([0] * 8)


def test_model_total() -> None:
    layers = [layer_cost(SMALL, HALF, 10, 0.5, "mean"), plain_layer(SMALL)]
    total = model_cost(layers)
    assert total.regular == 2 * 20736
    assert total.haste == 14094 + 20736
    assert total.hashing == 2000
    assert total.reduction == pytest.approx(1 - (14094 + 20736) / (2 * 20736))


def test_empty_model() -> None:
    total = model_cost([])
    assert total.regular == total.haste == total.reduction == 0


@pytest.mark.parametrize(
    "change",
    [
        {"sparsity": -0.1},
        {"sparsity": 1.1},
        {"sparsity": float("nan")},
        {"merge": "max"},
    ],
)
def test_bad_arguments(change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"hyperplanes": 4, "sparsity": 0.5, "merge": "mean"} | change
    with pytest.raises(ValueError, match=r"sparsity|merge"):
        layer_cost(SMALL, HALF, **arguments)


@pytest.mark.parametrize(("r", "m"), [(1.0, 1), (-0.1, 1), (0.5, -1), (float("nan"), 1)])
def test_bad_compression(r: float, m: float) -> None:
    with pytest.raises(ValueError, match=r"r = .* must be"):
        Compression(r, m)


@pytest.mark.parametrize("field", ["in_channels", "out_channels", "out_h", "out_w", "kernel_h", "kernel_w", "patch"])
def test_bad_shape(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        replace(SMALL, **{field: 0})
