"""How the kernels cut a 3x3 convolution's patches into tiles (cpp_ops/kernels/geometry.h).

A tile of n x n output pixels is computed by products at (n+2) x (n+2) points. Patches of 4 to 7 have one or two tiles
per axis; those that hang over the edge of the image compute only the tiles that lie at least partly inside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from haste_export.contract import BLOCK

QUAD = 4  # floats that 64-bit ARM reads of a window at a time


@dataclass(frozen=True)
class Tiling:
    """Tiles of a patch along each axis, in output pixels; `second` is 0 where one tile is all."""

    first: int
    second: int = 0

    @property
    def window(self) -> int:
        """Input pixels along an axis."""
        return self.first + self.second + 2

    @property
    def most_points(self) -> int:
        """Points of the larger tile, along an axis: those at which filters are evaluated."""
        return self.first + 2

    @property
    def slot(self) -> int:
        """Floats kept of a channel's window."""
        return padded(self.window**2)

    def bucket_slot(self, rows: int, columns: int) -> int:
        """Floats kept of a bucket's window, where so many output pixels of the patch lie inside the image."""
        return -(-self.points(rows) * self.points(columns) // QUAD) * QUAD

    def pixels(self, size: int) -> int:
        """Output pixels along an axis in the tiles of a patch of which `size` pixels lie inside the image."""
        if size <= 0:
            return 0
        return self.first + (self.second if size > self.first else 0)

    def points(self, size: int) -> int:
        """Points along an axis of those tiles."""
        if size <= 0:
            return 0
        return self.first + 2 + (self.second + 2 if self.second and size > self.first else 0)


_TILINGS = {4: Tiling(4), 5: Tiling(3, 3), 6: Tiling(3, 3), 7: Tiling(4, 3)}


def tiling(kernel: tuple[int, int], patch: int) -> Tiling | None:
    """The tiles of a patch, for kernels and patches that are cut into them."""
    return _TILINGS.get(patch) if kernel == (3, 3) else None


def padded(count: int) -> int:
    """Rounded up to whole blocks of 16."""
    return -(-count // BLOCK) * BLOCK
