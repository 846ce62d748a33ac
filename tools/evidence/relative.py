"""Errors at equal FLOPs: what a row's error is relative to that of a curve which saves as much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tools.evidence.store import Numbers

SAVED, ERROR = "FLOPs saved (%)", "error"
RELATIVE = "error / that of the first at equal FLOPs"
AROUND = (6, 8, 10, 12, 14)
"""L of the curve that ideas are held against; it must reach beyond theirs on both sides."""


def error_at(curve: Sequence[Numbers], saved: float) -> float:
    """Error of a curve where it saves this much: log error is interpolated, and its ends extended, linearly."""
    points: Mapping[float, float] = {row[SAVED]: float(np.log(row[ERROR])) for row in curve}
    costs = sorted(points)
    place = int(np.clip(np.searchsorted(costs, saved), 1, len(costs) - 1))
    left, right = costs[place - 1], costs[place]
    slope = (points[right] - points[left]) / (right - left)
    return float(np.exp(points[left] + slope * (saved - left)))
