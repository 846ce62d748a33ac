"""Other ways to choose hyperplanes, held against the product's at equal FLOPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tools.evidence.measure import Measurement
from tools.evidence.planes import BEST_OF, DRAWN
from tools.evidence.relative import AROUND, ERROR, RELATIVE, SAVED, error_at
from tools.evidence.settings import Method, uniform
from tools.evidence.tables import Table


def planes_table(measured: Measurement, counts: Sequence[int], method: Method) -> Table:
    """Other ways to choose hyperplanes, with the native operator."""
    corrected = ", corrected" if method.corrected else ""
    title = f"Choice of the hyperplanes, {method.merge}{corrected}, s = {method.sparsity:.2f}"
    table = measured.table(f"planes-{method.merge}", title)
    curve = measured.rows(method, uniform(AROUND))
    for kind in ("", *DRAWN, BEST_OF):
        rows = measured.rows(replace(method, planes=kind), uniform(counts))
        for count, by_seed in zip(counts, rows, strict=True):
            for place, row in enumerate(by_seed):
                relative = row[ERROR] / error_at([point[place] for point in curve], row[SAVED])
                table.add(f"{kind or 'each by itself'}, L = {count}", {**row, RELATIVE: relative})
    return table
