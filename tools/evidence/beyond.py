"""What might go beyond the method: each idea alone, held against the operator as it is at equal FLOPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tools.evidence.emulation import Emulation, hashed
from tools.evidence.measure import Measurement
from tools.evidence.merging import MERGINGS
from tools.evidence.planes import BEST_OF, DRAWN
from tools.evidence.settings import Method, uniform
from tools.evidence.store import Numbers
from tools.evidence.tables import Table

SAVED, ERROR = "FLOPs saved (%)", "error"
RELATIVE = "error / that of the first at equal FLOPs"
_AROUND = (6, 8, 10, 12, 14)
"""L of the curve that ideas are held against; it must reach beyond theirs on both sides."""


def planes_table(measured: Measurement, counts: Sequence[int], method: Method) -> Table:
    """Other ways to choose hyperplanes, with the native operator."""
    corrected = ", corrected" if method.corrected else ""
    table = measured.table("planes", f"Choice of the hyperplanes, {method.merge}{corrected}, s = {method.sparsity:.2f}")
    curve = measured.rows(method, uniform(_AROUND))
    for kind in ("", *DRAWN, BEST_OF):
        rows = measured.rows(replace(method, planes=kind), uniform(counts))
        for count, by_seed in zip(counts, rows, strict=True):
            for place, row in enumerate(by_seed):
                relative = row[ERROR] / _error_at([point[place] for point in curve], row[SAVED])
                table.add(f"{kind or 'each by itself'}, L = {count}", {**row, RELATIVE: relative})
    return table


def merging_table(emulation: Emulation, counts: Sequence[int], seeds: Sequence[int], sparsity: float) -> Table:
    """Other ways to merge, without and with correction, each held against `scaled` of the same kind."""
    title = f"Ways to merge, s = {sparsity:.2f}; with and without correction of gain and bias"
    table = Table(f"merging-{emulation.model.stem}", title, emulation.facts(seeds))
    for corrected in (False, True):
        for seed in seeds:
            curve = [
                emulation.measure(hashed(emulation, count, sparsity, seed, "scaled", corrected), seed)
                for count in _AROUND
            ]
            for name in ("scaled", *(other for other in MERGINGS if other != "scaled")):
                for count in counts:
                    row = emulation.measure(hashed(emulation, count, sparsity, seed, name, corrected), seed)
                    relative = row[ERROR] / _error_at(curve, row[SAVED])
                    label = f"{name}, L = {count}{', corrected' * corrected}"
                    table.add(label, {**row, RELATIVE: relative})
    return table


def _error_at(curve: Sequence[Numbers], saved: float) -> float:
    """Error of a curve where it saves as much: log error is interpolated, and its ends extended, linearly."""
    points: Mapping[float, float] = {row[SAVED]: float(np.log(row[ERROR])) for row in curve}
    costs = sorted(points)
    place = int(np.clip(np.searchsorted(costs, saved), 1, len(costs) - 1))
    left, right = costs[place - 1], costs[place]
    slope = (points[right] - points[left]) / (right - left)
    return float(np.exp(points[left] + slope * (saved - left)))
