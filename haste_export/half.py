"""Storing weights as float16: what that does to them, and when it is left."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LARGEST = float(np.finfo(np.float16).max)
TOLERANCE = 2.0**-11
"""Largest error of a layer's weights that counts as rounding, relative to their norm. Each weight that is a normal
float16 is rounded by no more than this share of itself, so only underflow makes a layer's error larger."""


def float32_because(weights: npt.NDArray[np.float32]) -> str | None:
    """Why a layer's weights must stay float32, as a clause, or None if float16 serves them."""
    largest = float(np.abs(weights).max(initial=0.0))
    if not np.isfinite(largest):
        return "they are not all finite"
    if largest > LARGEST:
        return f"the largest is {largest:.3g}, and float16 ends at {LARGEST:.0f}"
    error = float(np.linalg.norm(weights.astype(np.float64) - weights.astype(np.float16)))
    norm = float(np.linalg.norm(weights.astype(np.float64)))
    if error > TOLERANCE * norm:
        return f"many underflow in float16, which would change them by {error / norm:.2g} of their norm"
    return None
