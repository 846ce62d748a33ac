"""The cost model: more work takes longer, and the constants of every instruction set are complete."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haste_export.flops import LayerShape
from haste_export.options import ISAS
from haste_export.speed.model import HasteStages, StockStages, costs_of, haste_work, predict, stock_work, total
from haste_export.speed.typical import Counts, typical_counts

SIZES = st.integers(1, 600)
SHAPES = st.builds(LayerShape, SIZES, SIZES, SIZES, SIZES, st.integers(1, 7), st.integers(1, 7))
ISA = st.sampled_from([isa for isa in ISAS if isa != "auto"])


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "auto"])
def test_constants(isa: str) -> None:
    costs = costs_of(isa)
    for stages in (costs.stock, costs.haste):
        assert all(getattr(stages, field.name) >= 0 for field in fields(stages))
    assert costs.stock.gemm > 0
    assert costs.haste.winograd > 0
    assert costs.haste.direct > 0
    assert min(costs.convert, costs.reorder) >= 0


def test_unknown_instruction_set() -> None:
    with pytest.raises(KeyError):
        costs_of("sse")


@given(SHAPES, ISA, st.integers(0, 32), st.sampled_from(["in_channels", "out_h", "out_w"]))
def test_a_larger_layer_takes_longer(shape: LayerShape, isa: str, hyperplanes: int, size: str) -> None:
    larger = replace(shape, **{size: getattr(shape, size) * 2})
    small, large = predict(shape, hyperplanes, isa=isa), predict(larger, hyperplanes, isa=isa)
    assert large.haste_ms >= small.haste_ms
    assert large.stock_ms > 0 < small.haste_ms


@given(SHAPES, ISA, st.integers(1, 31))
def test_more_hyperplanes_and_more_buckets_cost_more(shape: LayerShape, isa: str, hyperplanes: int) -> None:
    few, many = Counts(0.3, 0.3), Counts(0.6, 0.3)
    one = predict(shape, hyperplanes, isa=isa, counts=few)
    assert predict(shape, hyperplanes, isa=isa, counts=many).haste_ms > one.haste_ms
    assert predict(shape, hyperplanes + 1, isa=isa, counts=few).haste_ms >= one.haste_ms
    assert predict(shape, hyperplanes, 0.9, isa, few).haste_ms <= one.haste_ms


def test_work_of_a_layer_by_hand() -> None:
    """64 -> 32 on 6x6: four patches; 25 of 32 padded window elements."""
    shape = LayerShape(64, 32, 6, 6, 3, 3)
    assert haste_work(shape, Counts(0.5, 0.25), 14, 0.5) == HasteStages(
        call=1,
        gather=4 * 64 * 32,
        hash=4 * 64 * 14 * (12.5 + 2),
        group=4 * 64,
        merge=4 * 16 * 32,
        winograd=4 * 32 * 32 * 66,
        direct=0,
        bucket=4 * 32 * 32,
        member=4 * 16 * 32 * 9,
        output=4 * 32 * 9,
        weight=9 * 64 * 32,
    )
    products = 36 * 9 * 64 * 32
    assert stock_work(shape) == StockStages(1, products, 0, 0, 36 * 32, 9 * 64 * 32)
    assert stock_work(shape, stock_blocks=False) == StockStages(1, 0, products, 36 * 9 * 64, 36 * 32, 9 * 64 * 32)


def test_total() -> None:
    assert total(StockStages(1, 2, 3, 4, 5, 6), StockStages(6, 5, 4, 3, 2, 1)) == 56


@pytest.mark.parametrize("taps", [1, 9, 49])
def test_typical_counts(taps: int) -> None:
    dense, *rest = (typical_counts(hyperplanes, taps) for hyperplanes in (0, 1, 4, 10, 14, 20, 28, 32))
    assert dense.members == 0
    assert all(a.buckets <= b.buckets and a.members >= b.members for a, b in pairwise(rest))
    assert all(0 < counts.buckets + counts.members <= 1 for counts in (dense, *rest))


def test_wide_deep_layers_are_predicted_to_gain_and_small_pointwise_ones_are_not() -> None:
    for isa in ("avx512", "neon"):
        assert predict(LayerShape(512, 512, 30, 30, 3, 3), 14, isa=isa).speedup > 1
        assert predict(LayerShape(64, 64, 56, 56, 1, 1), 14, isa=isa).speedup < 1
