"""The tiles that patches are computed in are those that the exporter counts with."""

from __future__ import annotations

import numpy as np
import pytest

from haste_export.speed.tiling import tiling
from tests.operator.cases import Case, build
from tests.operator.winograd import TILINGS

UNTILED = (1, 2, 8, 9)


def tile_ranges(patch: int) -> list[tuple[int, int]]:
    """First output of every tile of a patch along an axis, and the first beyond, as the exporter sees them."""
    tiles = tiling((3, 3), patch)
    assert tiles is not None
    return [(0, min(tiles.first, patch))] + ([(tiles.first, patch)] if tiles.second else [])


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("patch", [*TILINGS, *UNTILED])
def test_what_the_third_pixel_of_a_window_reaches(patch: int, axis: int, isa: str) -> None:
    """All outputs of the tile that the window belongs to, because it is a term of each, and none of another tile.

    Where an output is computed by itself it is those whose taps meet the pixel.
    """
    problem = build(Case(channels=2, height=patch, width=patch, patch=patch, count=0, seed=patch))
    ranges = tile_ranges(patch) if patch in TILINGS else [(at, min(at + 3, patch)) for at in range(patch - 1)]
    with problem.native_conv() as conv:
        for first, end in ranges:
            x = problem.x.copy()
            np.moveaxis(x, axis, 0)[first + 1] = np.nan  # behind one pixel of padding
            spoilt = np.isnan(conv.run(x, 0).y).any(tuple({0, 1, 2, 3} - {axis}))
            assert np.flatnonzero(spoilt).tolist() == list(range(first, end)), isa


def test_the_sizes_that_errors_are_bounded_with() -> None:
    for patch in range(1, 12):
        tiles = tiling((3, 3), patch)
        sizes = tuple(size for size in (tiles.first, tiles.second) if size) if tiles else None
        assert sizes == TILINGS.get(patch)
