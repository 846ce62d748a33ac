"""Random ternary hyperplanes, from a seeded generator per layer (arXiv 2309.17211, section 3)."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt


def draw_hyperplanes(layer: str, count: int, window: int, *, sparsity: float, seed: int) -> npt.NDArray[np.int8]:
    """Draw the hyperplanes of one layer.

    Every row has round(sparsity * window) zeros, at most window - 1; the other entries are -1 or 1 with equal chance.
    Rows are drawn one after the other, so the first L rows do not depend on `count`. The generator is seeded by `seed`
    and the layer's name, so no other layer has an influence either.

    Returns:
        int8 [count, window], values -1, 0, 1.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(layer.encode())]))
    zeros = min(round(sparsity * window), window - 1)
    rows = np.zeros((count, window), np.int8)
    for row in rows:
        places = rng.permutation(window)[zeros:]
        row[places] = rng.choice(np.array([-1, 1], np.int8), places.size)
    return rows
