"""What hashing usually leaves to compute, for layers whose data nobody has seen (docs/cost-model.md, "Assumptions").

Medians over the layers of a ResNet-50 on photographs, s = 1/2, scaled merge. A VGG16 leaves less to compute (0.42 of C
at L = 14), so for models like it the prediction is on the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ZERO_SHARE = 0.15
"""Share of (channel, patch) pairs whose window is all zero, behind a ReLU."""

# Rows: L, buckets that are convolved, members that are merged into one of them; both as shares of C.
_WIDE = ((1, 0.02, 0.83), (6, 0.26, 0.65), (10, 0.58, 0.41), (14, 0.71, 0.25), (20, 0.81, 0.15), (28, 0.85, 0.09))
_POINTWISE = ((1, 0.02, 0.83), (6, 0.15, 0.69), (10, 0.33, 0.63), (14, 0.43, 0.53), (20, 0.55, 0.42), (28, 0.64, 0.33))


@dataclass(frozen=True)
class Counts:
    """What is left of a patch's channels, as shares of C.

    Attributes:
        buckets: buckets that are convolved, those of one channel included.
        members: channels merged in buckets of two or more.
    """

    buckets: float
    members: float


def typical_counts(hyperplanes: int, taps: int) -> Counts:
    """Counts to expect at L = `hyperplanes`; 0 or less is dense. Between and beyond the measured L, interpolated."""
    if hyperplanes <= 0:
        return Counts(1 - ZERO_SHARE, 0.0)
    planes, buckets, members = zip(*(_POINTWISE if taps == 1 else _WIDE), strict=True)
    return Counts(float(np.interp(hyperplanes, planes, buckets)), float(np.interp(hyperplanes, planes, members)))
