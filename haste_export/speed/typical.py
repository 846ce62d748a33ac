"""What hashing usually leaves to compute, for layers whose data nobody has seen (docs/cost-model.md, "Assumptions").

Medians over the layers of a ResNet-50 on photographs, s = 1/2, scaled merge (tools/speed/buckets.py). A VGG16 leaves
less to compute, so for models like it the prediction is on the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_PLANES = (1, 6, 10, 14, 20, 28)


class _Shares(NamedTuple):
    """Shares of C: windows that are not all zero; buckets that are convolved and merged members at every L of _PLANES.

    At L = 1 nearly all are members of one of two buckets.
    """

    dense: float
    buckets: tuple[float, ...]
    members: tuple[float, ...]


# By patch.
_WIDE: Mapping[int, _Shares] = {
    3: _Shares(0.87, (0.02, 0.25, 0.55, 0.68, 0.75, 0.80), (0.85, 0.62, 0.42, 0.28, 0.16, 0.11)),
    4: _Shares(0.92, (0.02, 0.26, 0.58, 0.74, 0.82, 0.86), (0.90, 0.61, 0.46, 0.25, 0.12, 0.07)),
    6: _Shares(0.94, (0.02, 0.25, 0.58, 0.74, 0.84, 0.88), (0.92, 0.60, 0.44, 0.24, 0.11, 0.07)),
    7: _Shares(0.99, (0.02, 0.24, 0.61, 0.81, 0.93, 0.96), (0.97, 0.62, 0.44, 0.23, 0.09, 0.04)),
}
_POINTWISE: Mapping[int, _Shares] = {
    3: _Shares(0.85, (0.02, 0.14, 0.31, 0.41, 0.53, 0.61), (0.83, 0.68, 0.60, 0.52, 0.42, 0.34)),
    4: _Shares(0.89, (0.02, 0.15, 0.42, 0.60, 0.72, 0.78), (0.87, 0.72, 0.60, 0.40, 0.25, 0.15)),
    6: _Shares(0.92, (0.02, 0.18, 0.45, 0.61, 0.75, 0.82), (0.90, 0.72, 0.59, 0.41, 0.23, 0.15)),
    7: _Shares(0.99, (0.02, 0.19, 0.46, 0.73, 0.90, 0.94), (0.97, 0.76, 0.58, 0.32, 0.13, 0.07)),
}


@dataclass(frozen=True)
class Counts:
    """What is left of a patch's channels, as shares of C.

    Attributes:
        buckets: buckets that are convolved, those of one channel included.
        members: channels merged in buckets of two or more.
    """

    buckets: float
    members: float


def typical_counts(hyperplanes: int, taps: int, patch: int) -> Counts:
    """Counts to expect at L = `hyperplanes`; 0 or less is dense. Between the measured L and patches, interpolated."""
    by_patch = _POINTWISE if taps == 1 else _WIDE
    counts = [_at(hyperplanes, shares) for shares in by_patch.values()]
    buckets = np.interp(patch, list(by_patch), [own.buckets for own in counts])
    members = np.interp(patch, list(by_patch), [own.members for own in counts])
    return Counts(float(buckets), float(members))


def _at(hyperplanes: int, shares: _Shares) -> Counts:
    if hyperplanes <= 0:
        return Counts(shares.dense, 0.0)
    buckets, members = (float(np.interp(hyperplanes, _PLANES, of)) for of in (shares.buckets, shares.members))
    return Counts(buckets, members)
