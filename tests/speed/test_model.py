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
KERNELS = st.sampled_from([1, 3, 5, 7])
SHAPES = st.builds(LayerShape, SIZES, SIZES, SIZES, SIZES, KERNELS, KERNELS, st.integers(1, 9))
ISA = st.sampled_from([isa for isa in ISAS if isa != "auto"])


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "auto"])
def test_constants(isa: str) -> None:
    costs = costs_of(isa)
    for stages in (costs.stock, costs.haste):
        assert all(getattr(stages, field.name) >= 0 for field in fields(stages))
    assert costs.stock.gemm > 0
    assert min(costs.haste.winograd, costs.haste.nested, costs.haste.evaluate, costs.haste.direct) > 0
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
        hash=4 * 64 * 14 * 12.5,
        project=4 * 64 * 14,
        group=4 * 64,
        merge=4 * 16 * 32,
        winograd=4 * 32 * 32 * 66,
        nested=0,
        evaluate=0,
        direct=0,
        bucket=4 * 32 * 32,
        member=4 * 16 * 32 * 9,
        output=4 * 32 * 9,
        weight=9 * 64 * 32,
    )
    products = 36 * 9 * 64 * 32
    assert stock_work(shape) == StockStages(1, products, 0, 0, 36 * 32, 9 * 64 * 32)
    assert stock_work(shape, block=0) == StockStages(1, 0, products, 36 * 9 * 64, 36 * 32, 9 * 64 * 32)


@pytest.mark.parametrize(
    ("channels", "block", "padded"),
    [
        ((96, 24), 16, (96, 32)),
        ((96, 24), 8, (96, 24)),
        ((20, 18), 16, (32, 32)),
        ((3, 7), 16, (3, 16)),
        ((64, 1), 16, (64, 16)),
        ((18, 64), 16, None),
        ((33, 47), 16, None),
        ((33, 47), 8, None),
        ((64, 64), 0, None),
    ],
)
def test_stock_fills_blocks_of_channels(channels: tuple[int, int], block: int, padded: tuple[int, int] | None) -> None:
    """What ONNX Runtime 1.31 does; its optimised model says which Convs are blocked."""
    work = stock_work(LayerShape(*channels, 6, 6, 3, 3), block)
    inputs, outputs = padded or channels
    products = 36 * 9 * inputs * outputs
    assert (work.blocked, work.gemm) == ((products, 0) if padded else (0, products))
    assert work.output == 36 * outputs


@pytest.mark.parametrize(
    ("patch", "size", "slot", "points", "pixels", "evaluate"),
    [
        (4, (4, 4), 48, 6 * 6, 4 * 4, 6 * (9 + 6)),
        (4, (3, 2), 48, 6 * 6, 4 * 4, 6 * (9 + 6)),
        (5, (5, 5), 64, 10 * 10, 6 * 6, 5 * (9 + 5)),
        (6, (6, 6), 64, 10 * 10, 6 * 6, 5 * (9 + 5)),
        (6, (3, 4), 64, 5 * 10, 3 * 6, 5 * (9 + 5)),
        (7, (7, 7), 96, 11 * 11, 7 * 7, 6 * (9 + 6)),
        (7, (4, 5), 96, 6 * 11, 4 * 7, 6 * (9 + 6)),
        (7, (14, 9), 96, 22 * (11 + 6), 14 * (7 + 4), 4 * 6 * (9 + 6)),
    ],
)
def test_work_of_tiles_by_hand(
    patch: int, size: tuple[int, int], slot: int, points: int, pixels: int, evaluate: int
) -> None:
    """Tiles beyond the edge are not computed; what filters need for it is computed once per patch."""
    shape = LayerShape(16, 16, *size, 3, 3, patch)
    work = haste_work(shape, Counts(0.5, 0.25), 0, 0.5)
    assert (work.winograd, work.direct) == (0, 0)
    assert work.gather == shape.patches * 16 * slot
    assert work.nested == 8 * 16 * points
    assert work.output == 16 * pixels
    assert work.evaluate == 8 * 16 * evaluate


@pytest.mark.parametrize(
    ("size", "operations"),
    [((3, 3), 66), ((3, 1), 15 + 21), ((1, 2), 2 * 9), ((2, 5), 66 + 2 * 15 + 21), ((7, 3), 2 * 66 + 27)],
)
def test_work_at_the_edge_of_patches_of_three(size: tuple[int, int], operations: int) -> None:
    assert haste_work(LayerShape(16, 16, *size, 3, 3), Counts(0.5, 0.25), 0, 0.5).winograd == 8 * 16 * operations


def test_only_what_is_hashed_is_grouped() -> None:
    dense = haste_work(LayerShape(16, 16, 6, 6, 3, 3), Counts(0.5, 0.0), 0, 0.5)
    assert (dense.hash, dense.project, dense.group, dense.merge) == (0, 0, 0, 0)


def test_total() -> None:
    assert total(StockStages(1, 2, 3, 4, 5, 6), StockStages(6, 5, 4, 3, 2, 1)) == 56


@pytest.mark.parametrize("patch", [1, 3, 4, 5, 6, 7, 12])
@pytest.mark.parametrize("taps", [1, 9, 49])
def test_typical_counts(taps: int, patch: int) -> None:
    dense, *rest = (typical_counts(hyperplanes, taps, patch) for hyperplanes in (0, 1, 4, 10, 14, 20, 28, 32))
    assert dense.members == 0
    assert all(a.buckets <= b.buckets and a.members >= b.members for a, b in pairwise(rest))
    assert all(0 < counts.buckets + counts.members / 2 <= 1 for counts in (dense, *rest))


@pytest.mark.parametrize("taps", [1, 9])
def test_larger_patches_merge_less(taps: int) -> None:
    for hyperplanes in (0, 14, 20, 28):
        counts = [typical_counts(hyperplanes, taps, patch).buckets for patch in (3, 4, 6, 7)]
        assert counts == sorted(counts)


def test_wide_deep_layers_are_predicted_to_gain_and_small_pointwise_ones_are_not() -> None:
    for isa in ("avx512", "neon"):
        for patch in (3, 6, 7):
            assert predict(LayerShape(512, 512, 30, 30, 3, 3, patch), 14, isa=isa).speedup > 1
        assert predict(LayerShape(64, 64, 56, 56, 1, 1), 14, isa=isa).speedup < 1
