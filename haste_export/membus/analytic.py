"""The bytes that a layer must move, from its sizes, the tile sizes and the last cache; docs/membus.md has the terms.

All functions describe one cold inference: nothing of the layer is cached before, and what it wrote counts even while
it is still in a cache. Caches are write-back and write-allocate: a line that is written is read first.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from haste_export.membus.geometry import Core
from haste_export.membus.layers import LayerShape
from haste_export.speed.tiling import Tiling, tiling

FLOAT = 4
SUBTILE = 3  # output pixels along an axis that are computed together where patches have no tiles
BLOCK = 16  # output channels whose weights are used together
LANES = 4  # floats in a vector; windows are whole vectors
# As in cpp_ops/kernels/schedule.cpp:
GROUP, MAX_TILE = 4, 256  # patches: prepared together, most in a tile
MIN_STAY, MAX_STAY = 72, 288  # output pixels of a tile beside weights that stay
BLOCKS_AT_ONCE = 3  # of output channels, by the kernel that knows no transforms
PASSING = 6  # patches whose windows pass by while a slice of the weights stays
MAX_WINDOWS = 8 << 20  # bytes of windows that slices may keep in memory
EXPECTED = 1 / 2  # of a patch's windows, after a usual merge
HYPERPLANES = 14  # in use, for the size of the buffers that patches are prepared in
GEMM_COLUMNS = 128  # output pixels that ONNX Runtime's convolution unfolds and multiplies at a time


@dataclass(frozen=True)
class Bytes:
    """Bytes moved by cause."""

    input: int
    weights: int
    output: int
    scratch: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.input + self.weights + self.output + self.scratch


def stock(shape: LayerShape, core: Core) -> Bytes:
    """Im2col and matrix multiplication, as ONNX Runtime runs a convolution on aarch64.

    Runs of GEMM_COLUMNS output pixels are unfolded K-slice by K-slice and multiplied with all filters. Between two
    runs all weights pass by, so they are read again for every run unless they stay in the last cache.
    """
    weights = _weights(shape, FLOAT)
    passes = 1 if weights <= core.last_level.size else shape.batch * ceil(_pixels(shape) / GEMM_COLUMNS)
    return Bytes(_input(shape), passes * weights, 2 * _output(shape), shape.batch * _unfolded(shape, core))


@dataclass(frozen=True)
class Schedule:
    """How HasteConv goes through a layer: what stays in the second-level cache, and how often the rest passes by.

    Attributes:
        stays: "weights" (all of them), "windows" (of a tile; all weights pass by once per tile) or "slice" (some of
            the weights; all windows pass by once per slice).
        floats: of windows in a tile, where they decide its size.
        slices: of the weights, where they stay one after the other.
        rounds: in which the slices pass, each time by some rows of patches.
    """

    stays: str
    floats: int = 0
    slices: int = 1
    rounds: int = 1


def schedule(shape: LayerShape, core: Core) -> Schedule:
    """What the kernels choose for a layer on one core."""
    size, block, weights = core.l2.size, _block(shape), _weights(shape, shape.weight_size)
    window = round(EXPECTED * _windows(shape))
    lists = shape.channels * FLOAT
    pixels = shape.patch**2 * FLOAT * (shape.channels + shape.filters)
    least = ceil(MIN_STAY / shape.patch**2)
    most = max(MAX_STAY // shape.patch**2, least)
    preparation = _preparation(shape) * min(GROUP, least) // GROUP
    stay = (size * 7 // 8 - weights - preparation) // (window + lists + pixels)
    if stay >= least:
        patches = min(stay, most)
        if _patches(shape) > patches:
            return Schedule("weights", patches * window // FLOAT)
    call = block * (BLOCKS_AT_ONCE if _is_direct(shape) else 1)
    floats = max((size * 7 // 8 - 2 * call) * window // (window + lists), GROUP * window) // FLOAT
    if stay >= least or _patches(shape) * window <= floats * FLOAT:
        return Schedule("windows", floats)  # one tile
    most, rows = (size * 15 // 16 - PASSING * (window + lists)) // block, MAX_WINDOWS // _row(shape, window + lists)
    if most >= 1 and rows >= 1 and weights > size * 15 // 16:
        slices, total = ceil(shape.filters / BLOCK / most), _patches(shape) * (window + lists)
        by_tiles = ceil(_patches(shape) * window / (floats * FLOAT)) * weights
        rounds = ceil(total / (rows * _row(shape, window + lists)))
        if rounds * weights + (slices + 2) * total < by_tiles:
            return Schedule("slice", slices=slices, rounds=rounds)
    return Schedule("windows", floats)


def haste(shape: LayerShape, core: Core, kept: float = 0.5, read: float = 1.0) -> Bytes:
    """HasteConv: patches are gathered, hashed and merged, then meet all weights as the schedule has it.

    Args:
        shape: of the layer.
        core: whose caches.
        kept: 1 - r, the share of windows left after the merge.
        read: the share of channels whose filters are read at all; zero channels' are not.
    """
    plan = schedule(shape, core)
    weights, windows = _weights(shape, shape.weight_size), round(kept * _patches(shape) * _windows(shape))
    passes, scratch = 1, 2 * windows  # windows are written, which fetches them first
    if plan.stays == "slice":
        passes = plan.rounds
        if windows + weights // plan.slices > core.last_level.size:
            scratch += plan.slices * windows
    else:
        tiles = _tiles(shape, plan, kept)
        scratch //= tiles  # the same memory for every tile
        if plan.stays == "windows" and weights + windows // tiles > core.last_level.size:
            passes = tiles
    return Bytes(_input(shape), round(passes * weights * read), 2 * _output(shape), scratch)


def passes(shape: LayerShape, core: Core, kept: float = 0.5) -> str:
    """The schedule in words, for a table."""
    plan = schedule(shape, core)
    if plan.stays == "weights":
        return "weights stay"
    return f"{plan.slices} slices" if plan.stays == "slice" else f"{_tiles(shape, plan, kept)} tiles"


def _tiles(shape: LayerShape, plan: Schedule, kept: float) -> int:
    return max(
        1, ceil(_patches(shape) / MAX_TILE), ceil(kept * _patches(shape) * _windows(shape) / (plan.floats * FLOAT))
    )


def _row(shape: LayerShape, patch: int) -> int:
    """Bytes of a row of patches of so many bytes each."""
    return ceil(shape.output[1] / shape.patch) * patch


def _windows(shape: LayerShape) -> int:
    """Bytes of the windows that a patch is convolved with if nothing is merged."""
    tiles = _tiling(shape)
    return shape.channels * (tiles.bucket_slot if tiles else _slot(shape)) * FLOAT


def _preparation(shape: LayerShape) -> int:
    """Bytes of the buffers that four patches are prepared in, roughly: windows, projections, table."""
    patch = shape.channels * (_slot(shape) + HYPERPLANES) * FLOAT
    return GROUP * patch + 8 * min(max(8 * shape.channels, 1024), 4096)


def _unfolded(shape: LayerShape, core: Core) -> int:
    if shape.kernel == (1, 1):
        return 0
    columns = min(GEMM_COLUMNS, _pixels(shape))
    depth = min(GEMM_COLUMNS, shape.channels * shape.kernel[0] * shape.kernel[1])
    if shape.filters <= _pixels(shape):
        return 2 * columns * depth * FLOAT  # one run's slice, reused
    whole = _pixels(shape) * shape.channels * shape.kernel[0] * shape.kernel[1] * FLOAT
    # More filters than pixels: the input is unfolded whole, written once and read once.
    return 2 * whole if whole <= core.last_level.size else 3 * whole


def _tiling(shape: LayerShape) -> Tiling | None:
    return tiling(shape.kernel, shape.patch)


def _is_direct(shape: LayerShape) -> bool:
    return not _tiling(shape) and (shape.kernel != (3, 3) or shape.patch != SUBTILE)


def _slot(shape: LayerShape) -> int:
    """Floats kept per channel window: what the tiles or the last subtile may read of it, in whole vectors."""
    if tiles := _tiling(shape):
        return tiles.slot
    (height, width), reach = shape.kernel, ceil(shape.patch / SUBTILE) * SUBTILE - 1
    pitch = shape.patch + width - 1
    window = (shape.patch + height - 1) * pitch
    return ceil(max(window, (reach + height - 1) * pitch + reach + width) / LANES) * LANES


def _pixels(shape: LayerShape) -> int:
    return shape.output[0] * shape.output[1]


def _patches(shape: LayerShape) -> int:
    return shape.batch * ceil(shape.output[0] / shape.patch) * ceil(shape.output[1] / shape.patch)


def _input(shape: LayerShape) -> int:
    return shape.batch * shape.channels * _pixels(shape) * FLOAT


def _output(shape: LayerShape) -> int:
    return shape.batch * shape.filters * _pixels(shape) * FLOAT


def _weights(shape: LayerShape, size: int) -> int:
    return shape.filters * shape.channels * shape.kernel[0] * shape.kernel[1] * size


def _block(shape: LayerShape) -> int:
    """Bytes of the weights that HasteConv uses together."""
    return BLOCK * shape.channels * shape.kernel[0] * shape.kernel[1] * shape.weight_size
