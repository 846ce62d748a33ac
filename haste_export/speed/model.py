"""Predicts the time of one convolution, as Conv and as HasteConv (docs/cost-model.md).

time = Σ over stages of (units of work · nanoseconds per unit). Units follow from the layer's sizes and from what
hashing leaves to compute; nanoseconds per unit are constants of an instruction set, fitted by tools/speed/calibrate.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from haste_export.contract import BLOCK
from haste_export.flops import LayerShape
from haste_export.speed.tiling import padded, tiling
from haste_export.speed.typical import Counts, typical_counts

COSTS_FILE = Path(__file__).with_name("costs.json")
DEFAULT_ISA = "avx512"
_SUBTILE = 3
_STOCK_ALIGNMENT = 4  # ONNX Runtime brings tensors of so many channels, or multiples, into its blocked layout
# Vector operations per bucket, 3x3 at patch 3: multiply-adds per column of pixels, and additions.
_COLUMN, _LONE_ROW_COLUMN, _EVALUATION = 15, 9, 21


@dataclass(frozen=True)
class StockStages:
    """Conv in ONNX Runtime: units of work, or nanoseconds per unit.

    Attributes:
        call: one run of the operator.
        blocked: multiply-adds of the blocked kernel, with those of the channels that fill blocks.
        gemm: multiply-adds of the matrix product that serves other layers.
        column: elements of the matrix that is made of the input for it; none for 1x1 kernels.
        output: elements written.
        weight: elements of the filters.
    """

    call: float
    blocked: float
    gemm: float
    column: float
    output: float
    weight: float


@dataclass(frozen=True)
class HasteStages:
    """HasteConv between blocked tensors: units of work, or nanoseconds per unit.

    Attributes:
        call: one run of the operator.
        gather: elements of the windows of all patches, padded to whole vectors.
        hash: additions of the projections.
        project: projections, whose means are taken and which are compared with them.
        group: channels of all patches that are grouped.
        merge: elements of the windows of merged members.
        winograd: operations of 3x3 kernels at patch 3 (66 per bucket and output channel of a whole patch).
        nested: multiply-adds of 3x3 kernels at patches 4 to 7.
        evaluate: vectors that take part in evaluating their filters at the points of a tile: nine taps are read, and
            a value made for every point along y, at each point along x.
        direct: multiply-adds of all other kernels.
        bucket: buckets times output channels.
        member: filter elements of merged members.
        output: elements computed, those past the edge of the output included.
        weight: elements of the filters.
    """

    call: float
    gather: float
    hash: float
    project: float
    group: float
    merge: float
    winograd: float
    nested: float
    evaluate: float
    direct: float
    bucket: float
    member: float
    output: float
    weight: float


@dataclass(frozen=True)
class Costs:
    """Constants of one instruction set, nanoseconds per unit.

    Attributes:
        stock_block: channels in a block of ONNX Runtime's own layout for this instruction set; 0 where it has none.
        stock: Conv.
        haste: HasteConv.
        reorder: element of a tensor that ONNX Runtime's own blocked layout converts from or to NCHW.
        convert: element that a HasteConv reads from or writes to NCHW, or that a HasteReorder converts.
        join: tensor between a HasteConv and something that does not share its layout, beside the conversion itself:
            further nodes to dispatch, fusions that stock loses, caches that are cold afterwards.
    """

    stock_block: int
    stock: StockStages
    haste: HasteStages
    reorder: float
    convert: float
    join: float


@cache
def known_isas() -> frozenset[str]:
    """Instruction sets that there are constants for."""
    return frozenset(json.loads(COSTS_FILE.read_text(encoding="utf-8")))


@cache
def costs_of(isa: str) -> Costs:
    """Constants for one of `known_isas`. Raises KeyError for another name."""
    entry = json.loads(COSTS_FILE.read_text(encoding="utf-8"))[isa]
    return Costs(
        entry["stock_block"],
        StockStages(**entry["stock"]),
        HasteStages(**entry["haste"]),
        entry["reorder"],
        entry["convert"],
        entry["join"],
    )


def total(work: StockStages | HasteStages, costs: StockStages | HasteStages) -> float:
    """Nanoseconds of some work."""
    return sum(float(getattr(work, field.name)) * float(getattr(costs, field.name)) for field in fields(work))


def is_blocked_by_stock(shape: LayerShape, block: int = BLOCK) -> bool:
    """Whether ONNX Runtime's blocked kernels take the layer; others are a matrix product on NCHW.

    They take whatever it can bring into their layout, and fill the last block with zeros.
    """
    return block > 0 and (shape.in_channels < block or shape.in_channels % _STOCK_ALIGNMENT == 0)


def stock_work(shape: LayerShape, block: int = BLOCK) -> StockStages:
    """Units of work of a Conv, for one image; `block` as in Costs."""
    pixels = shape.out_h * shape.out_w
    inputs, outputs = shape.in_channels, shape.out_channels
    blocked = is_blocked_by_stock(shape, block)
    if blocked:
        outputs = -(-outputs // block) * block
        inputs = inputs if inputs < block else -(-inputs // block) * block
    products = float(pixels * shape.taps * inputs * outputs)
    return StockStages(
        call=1,
        blocked=products if blocked else 0,
        gemm=0 if blocked else products,
        column=0 if blocked or shape.taps == 1 else pixels * shape.taps * shape.in_channels,
        output=pixels * outputs,
        weight=shape.taps * inputs * outputs,
    )


def haste_work(shape: LayerShape, counts: Counts, hyperplanes: int, sparsity: float) -> HasteStages:
    """Units of work of a HasteConv between blocked tensors, for one image; L of 0 or less is dense.

    `counts` says what hashing leaves; of a single image, so that weights are read once per chunk of patches.
    """
    n, taps = shape.patches, shape.taps
    inputs, outputs = padded(shape.in_channels), padded(shape.out_channels)
    kernel = shape.kernel_h, shape.kernel_w
    tiles = tiling(kernel, shape.patch)
    columns = kernel == (3, 3) and shape.patch == _SUBTILE
    slot = tiles.slot if tiles else padded(shape.window)
    buckets, members = shape.in_channels * counts.buckets, n * shape.in_channels * counts.members
    pixels = n * (_SUBTILE * -(-shape.patch // _SUBTILE)) ** 2
    projections = n * inputs * max(hyperplanes, 0)
    return HasteStages(
        call=1,
        gather=n * inputs * slot,
        hash=projections * shape.window * (1 - sparsity),
        project=projections,
        group=n * shape.in_channels if hyperplanes > 0 else 0,
        merge=members * slot,
        winograd=buckets * outputs * _winograd_operations(shape) if columns else 0,
        nested=buckets * outputs * _over_patches(shape, tiles.points) if tiles else 0,
        evaluate=n * buckets * outputs * tiles.most_points * (taps + tiles.most_points) if tiles else 0,
        direct=0 if columns or tiles else buckets * outputs * pixels * taps,
        bucket=n * buckets * outputs,
        member=members * outputs * taps,
        output=outputs * (_over_patches(shape, tiles.pixels) if tiles else pixels),
        weight=taps * shape.in_channels * outputs,
    )


def _over_patches(shape: LayerShape, along: Callable[[int], int]) -> int:
    """Sum over all patches of along(rows inside the image) · along(columns inside the image)."""
    (rows, last_row), (columns, last_column) = (divmod(size, shape.patch) for size in (shape.out_h, shape.out_w))
    whole = along(shape.patch)
    return (rows * whole + along(last_row)) * (columns * whole + along(last_column))


def _winograd_operations(shape: LayerShape) -> int:
    """Of all patches, per bucket and output channel; patches of a single row are convolved directly."""
    lone = shape.out_h % _SUBTILE == 1
    columns = -(-shape.out_w // _SUBTILE)
    rows = -(-shape.out_h // _SUBTILE) - lone
    return rows * (_COLUMN * shape.out_w + _EVALUATION * columns) + lone * _LONE_ROW_COLUMN * shape.out_w


@dataclass(frozen=True)
class Prediction:
    """Milliseconds for one image, without the conversions at the ends of a chain."""

    stock_ms: float
    haste_ms: float

    @property
    def speedup(self) -> float:
        """Stock time / time as HasteConv."""
        return self.stock_ms / self.haste_ms


def predict(
    shape: LayerShape, hyperplanes: int, sparsity: float = 0.5, isa: str = DEFAULT_ISA, counts: Counts | None = None
) -> Prediction:
    """Times of a layer in the middle of a chain of its own kind; `counts` are the typical ones if not given."""
    costs = costs_of(isa)
    left = counts if counts is not None else typical_counts(hyperplanes, shape.taps, shape.patch)
    haste = total(haste_work(shape, left, hyperplanes, sparsity), costs.haste)
    stock = total(stock_work(shape, costs.stock_block), costs.stock)
    return Prediction(stock / 1e6, haste / 1e6)
