"""The bytes that a layer must move, from its sizes, the tile sizes and the last cache; docs/membus.md has the terms.

All functions describe one cold inference: nothing of the layer is cached before, and what it wrote counts even while
it is still in a cache. Caches are write-back and write-allocate: a line that is written is read first.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from haste_export.membus.geometry import Core
from haste_export.membus.layers import LayerShape

FLOAT = 4
PATCH = 3
BLOCK = 16  # output channels whose weights are used together
MAX_TILE, MIN_TILE = 32, 4  # patches per tile, as in cpp_ops/kernels/run.cpp
FEW_TILES = 8  # fewer are prepared together
BLOCKS_AT_ONCE = 3  # blocks of output channels in a slice
KEPT = 5 / 8  # of a patch's windows after a usual merge; the kernel plans with the same figure
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
    passes = 1 if weights <= core.last_level.size else ceil(_pixels(shape) / GEMM_COLUMNS)
    return Bytes(_input(shape), passes * weights, 2 * _output(shape), _unfolded(shape, core))


def haste(shape: LayerShape, core: Core, kept: float = 0.5, read: float = 1.0) -> Bytes:
    """HasteConv: tiles of patches are gathered, hashed and merged, then meet all weights block by block.

    With FEW_TILES or more, every tile meets all weights in turn, which pass by once per tile unless they stay in the
    cache beside it. With fewer, all tiles are prepared first and the weights, read once, meet all tiles slice by
    slice; if the windows of all tiles do not fit beside two blocks of weights, they pass by once per slice.

    Args:
        shape: of the layer.
        core: whose caches.
        kept: 1 - r, the share of windows left after the merge.
        read: the share of channels whose filters are read at all; zero channels' are not.
    """
    cache = core.last_level.size
    tiles = tile_count(shape, core)
    weights, block = _weights(shape, shape.weight_size), _block(shape)
    windows = round(kept * tile_size(shape, core) * shape.channels * _slot(shape) * FLOAT)
    passes, scratch = 1, 2 * windows
    if tiles < FEW_TILES:
        scratch *= tiles
        if tiles * windows + 2 * block > cache:
            scratch += (ceil(shape.filters / (BLOCK * BLOCKS_AT_ONCE)) - 1) * tiles * windows
    elif weights + windows + (_input(shape) + _output(shape)) // tiles > cache:
        passes = tiles
    return Bytes(_input(shape), round(passes * weights * read), 2 * _output(shape), scratch)


def tile_size(shape: LayerShape, core: Core) -> int:
    """Patches per tile: as many as share the second-level cache with two blocks of weights."""
    cache = core.l2.size * 7 // 8
    block = _block(shape)
    window = shape.channels * _slot(shape) * FLOAT * KEPT
    most = min(max(int((cache - 2 * block) / window), MIN_TILE), MAX_TILE)
    return ceil(_patches(shape) / ceil(_patches(shape) / most))


def tile_count(shape: LayerShape, core: Core) -> int:
    """Tiles of a layer."""
    return ceil(_patches(shape) / tile_size(shape, core))


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


def _slot(shape: LayerShape) -> int:
    """Floats kept per channel window, rounded up to a cache line."""
    return ceil((PATCH + shape.kernel[0] - 1) * (PATCH + shape.kernel[1] - 1) / BLOCK) * BLOCK


def _pixels(shape: LayerShape) -> int:
    return shape.output[0] * shape.output[1]


def _patches(shape: LayerShape) -> int:
    return shape.batch * ceil(shape.output[0] / PATCH) * ceil(shape.output[1] / PATCH)


def _input(shape: LayerShape) -> int:
    return shape.batch * shape.channels * _pixels(shape) * FLOAT


def _output(shape: LayerShape) -> int:
    return shape.batch * shape.filters * _pixels(shape) * FLOAT


def _weights(shape: LayerShape, size: int) -> int:
    return shape.filters * shape.channels * shape.kernel[0] * shape.kernel[1] * size


def _block(shape: LayerShape) -> int:
    """Bytes of the weights that HasteConv uses together."""
    return BLOCK * shape.channels * shape.kernel[0] * shape.kernel[1] * shape.weight_size
