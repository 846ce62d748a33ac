"""The bytes that a layer must move, from its sizes, how it is cut up and the last cache; docs/membus.md has the terms.

All functions describe one cold inference: nothing of the layer is cached before, and what it wrote counts even while
it is still in a cache. Caches are write-back and write-allocate: a line that is written is read first.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from haste_export.membus.geometry import LINE, Core
from haste_export.membus.layers import MemoryShape
from haste_export.speed.tiling import Tiling, tiling

FLOAT = 4
SUBTILE = 3  # output pixels along an axis that are computed together where patches have no tiles
BLOCK = 16  # output channels whose weights are used together
LANES = 4  # floats in a vector; windows are whole vectors
# As in cpp_ops/kernels, schedule.cpp above all:
STRIP, MAX_CHUNK = 4, 256  # patches: prepared side by side, most in a chunk
MIN_STAY, MAX_STAY = 72, 288  # output pixels of a chunk beside weights that stay
BLOCKS_AT_ONCE = 3  # of output channels, by the kernel that knows no transforms
PASSING = 2  # patches whose windows pass by while a slice of the weights stays: each meets all blocks of the slice
MAX_WINDOWS = 8 << 20  # bytes of windows that slices may keep in memory
EXPECTED = 1 / 2  # of a patch's windows, after a usual merge
HYPERPLANES = 14  # in use, for the size of the buffers that patches are prepared in
APART = 48  # floats between the windows of two patches while they are prepared
TABLE = 1024, 4096  # least and most entries for the buckets of few channels
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


def stock(shape: MemoryShape, core: Core) -> Bytes:
    """Im2col and matrix multiplication, as ONNX Runtime runs a convolution on aarch64.

    Runs of GEMM_COLUMNS output pixels are unfolded K-slice by K-slice and multiplied with all filters. Between two
    runs all weights pass by, so they are read again for every run unless they stay in the last cache.
    """
    weights = shape.filters * shape.channels * shape.kernel[0] * shape.kernel[1] * FLOAT
    passes = 1 if weights <= core.last_level.size else shape.batch * ceil(_pixels(shape) / GEMM_COLUMNS)
    return Bytes(_input(shape), passes * weights, 2 * _output(shape), shape.batch * _unfolded(shape, core))


@dataclass(frozen=True)
class Schedule:
    """How HasteConv goes through a layer: what stays in the second-level cache, and how often the rest passes by.

    Attributes:
        stays: "weights" (all of them), "windows" (of a chunk; all weights pass by once per chunk) or "slice" (some of
            the weights; all windows pass by once per slice).
        floats: of windows in a chunk, where they decide its size.
        slices: of the weights, where they stay one after the other.
        patches: that are prepared before the slices pass.
    """

    stays: str
    floats: int = 0
    slices: int = 1
    patches: int = 0


def schedule(shape: MemoryShape, core: Core) -> Schedule:
    """What the kernels choose for a layer on one core; tests/operator/test_schedule.py compares it with theirs."""
    size, block, weights = core.l2.size, _block(shape), _packed(shape)
    window = round(EXPECTED * _windows(shape))
    lists = shape.channels * FLOAT
    pixels = shape.patch**2 * FLOAT * (shape.channels + shape.filters)
    least = ceil(MIN_STAY / shape.patch**2)
    most = max(MAX_STAY // shape.patch**2, least)
    preparation = _preparation(shape)
    stay = (size * 7 // 8 - weights - preparation * min(STRIP, least) // STRIP) // (window + lists + pixels)
    if stay >= least:
        return Schedule("weights", min(stay, most) * window // FLOAT)
    step = BLOCKS_AT_ONCE if _is_direct(shape) else 1
    floats = max((size * 7 // 8 - 2 * step * block) * window // (window + lists), STRIP * window) // FLOAT
    chunk = floats * FLOAT
    best = Schedule("windows", floats)
    if _patches(shape) * window <= chunk:
        return best  # one chunk
    blocks = ceil(shape.filters / BLOCK)
    columns = ceil(shape.output[1] / shape.patch)
    rows = min(MAX_WINDOWS // (columns * (window + lists)), _patches(shape) // columns)
    if rows < 1 or weights <= size * 15 // 16:
        return best
    prepared, total = rows * columns, _patches(shape) * (window + lists)

    once = weights + 2 * preparation + ceil(blocks / step) * _again(chunk, step * block, size)
    moved = _patches(shape) * window / chunk * once + 3 * total
    for kept in range(step, blocks, step):
        if kept > step and kept * block + PASSING * (window + lists) > size * 15 // 16:
            break
        slices, again = ceil(blocks / kept), _again(prepared * (window + lists), kept * block, size)
        by_slices = ceil(_patches(shape) / prepared) * (weights + slices * again) + 2 * total
        if by_slices < moved:
            best, moved = Schedule("slice", slices=slices, patches=prepared), by_slices
    return best


def haste(shape: MemoryShape, core: Core, kept: float = 0.5, read: float = 1.0) -> Bytes:
    """HasteConv: patches are gathered, hashed and merged, then meet all weights as the schedule has it.

    Args:
        shape: of the layer.
        core: whose caches.
        kept: 1 - r, the share of windows left after the merge.
        read: the share of channels whose filters are read at all; zero channels' are not.
    """
    plan = schedule(shape, core)
    weights, windows = _packed(shape), round(kept * _patches(shape) * _windows(shape))
    passes, scratch = 1, 2 * windows  # windows are written, which fetches them first
    if plan.stays == "slice":
        passes = ceil(_patches(shape) / plan.patches)
        scratch += passes * plan.slices * _again(windows // passes, weights // plan.slices, core.last_level.size)
    else:
        chunks = _chunks(shape, plan, kept)
        scratch //= chunks  # the same memory for every chunk
        if plan.stays == "windows" and weights + windows // chunks > core.last_level.size:
            passes = chunks
    return Bytes(_input(shape), round(passes * weights * read), 2 * _output(shape), scratch)


def passes(shape: MemoryShape, core: Core, kept: float = 0.5) -> str:
    """The schedule in words, for a table."""
    plan = schedule(shape, core)
    if plan.stays == "weights":
        return "weights stay"
    return f"{plan.slices} slices" if plan.stays == "slice" else f"{_chunks(shape, plan, kept)} chunks"


def _again(windows: int, weights: int, cache: int) -> int:
    """Bytes of windows for which the cache has no room, where weights and windows are used in turns.

    Each time they are gone through in the other order, so between two uses of the windows furthest from the turn lie
    all others, these weights and the next.
    """
    return min(max(windows + 2 * weights - cache * 15 // 16, 0), windows)


def _chunks(shape: MemoryShape, plan: Schedule, kept: float) -> int:
    return max(
        1, ceil(_patches(shape) / MAX_CHUNK), ceil(kept * _patches(shape) * _windows(shape) / (plan.floats * FLOAT))
    )


def _windows(shape: MemoryShape) -> int:
    """Bytes of the windows that a patch is convolved with if nothing is merged, on average."""
    if not (tiles := _tiling(shape)):
        return shape.channels * _slot(shape) * FLOAT
    (rows, bottom), (columns, right) = (_whole_and_last(size, shape.patch) for size in shape.output)
    whole = tiles.bucket_slot(shape.patch, shape.patch)
    floats = rows * columns * whole + columns * tiles.bucket_slot(bottom, shape.patch)
    floats += rows * tiles.bucket_slot(shape.patch, right) + tiles.bucket_slot(bottom, right)
    return shape.channels * ceil(floats / ((rows + 1) * (columns + 1))) * FLOAT


def _whole_and_last(size: int, patch: int) -> tuple[int, int]:
    """Patches along an axis but for the last, and the last one's pixels inside the image."""
    whole = ceil(size / patch) - 1
    return whole, size - whole * patch


def _preparation(shape: MemoryShape) -> int:
    """Bytes of the buffers that a strip of patches is prepared in, as cpp_ops/kernels/preparation.cpp takes them."""
    channels, patch = ceil(shape.channels / BLOCK) * BLOCK, shape.patch
    height, width = (patch + size - 1 for size in shape.kernel)
    strip = (height * ((STRIP - 1) * patch + width) + (STRIP - 1) * patch + 1) * BLOCK * FLOAT
    windows = STRIP * (channels * _slot(shape) + APART) * FLOAT
    projections, codes = STRIP * channels * HYPERPLANES * FLOAT, STRIP * channels * 4
    nonzero = STRIP * channels // BLOCK * 2
    least, most = TABLE
    table = 8 * max(least, min(_power_of_two(8 * channels), most), _power_of_two(2 * channels))
    lists = 8 * [(channels + BLOCK) * 4]
    return sum(
        ceil(size / LINE) * LINE for size in (strip, windows, projections, codes, STRIP * 4, nonzero, table, *lists)
    )


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _unfolded(shape: MemoryShape, core: Core) -> int:
    if shape.kernel == (1, 1):
        return 0
    columns = min(GEMM_COLUMNS, _pixels(shape))
    depth = min(GEMM_COLUMNS, shape.channels * shape.kernel[0] * shape.kernel[1])
    if shape.filters <= _pixels(shape):
        return 2 * columns * depth * FLOAT  # one run's slice, reused
    whole = _pixels(shape) * shape.channels * shape.kernel[0] * shape.kernel[1] * FLOAT
    # More filters than pixels: the input is unfolded whole, written once and read once.
    return 2 * whole if whole <= core.last_level.size else 3 * whole


def _tiling(shape: MemoryShape) -> Tiling | None:
    return tiling(shape.kernel, shape.patch)


def _is_direct(shape: MemoryShape) -> bool:
    return not _tiling(shape) and (shape.kernel != (3, 3) or shape.patch != SUBTILE)


def _slot(shape: MemoryShape) -> int:
    """Floats kept per channel window: what the tiles or the last subtile may read of it, in whole vectors."""
    if tiles := _tiling(shape):
        return tiles.slot
    (height, width), reach = shape.kernel, ceil(shape.patch / SUBTILE) * SUBTILE - 1
    pitch = shape.patch + width - 1
    window = (shape.patch + height - 1) * pitch
    return ceil(max(window, (reach + height - 1) * pitch + reach + width) / LANES) * LANES


def _pixels(shape: MemoryShape) -> int:
    return shape.output[0] * shape.output[1]


def _patches(shape: MemoryShape) -> int:
    return shape.batch * ceil(shape.output[0] / shape.patch) * ceil(shape.output[1] / shape.patch)


def _input(shape: MemoryShape) -> int:
    return shape.batch * shape.channels * _pixels(shape) * FLOAT


def _output(shape: MemoryShape) -> int:
    return shape.batch * shape.filters * _pixels(shape) * FLOAT


def _packed(shape: MemoryShape) -> int:
    """Bytes of HasteConv's weights, in whole blocks."""
    return ceil(shape.filters / BLOCK) * _block(shape)


def _block(shape: MemoryShape) -> int:
    """Bytes of the weights that HasteConv uses together."""
    return BLOCK * shape.channels * shape.kernel[0] * shape.kernel[1] * shape.weight_size
