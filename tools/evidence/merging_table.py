"""Other ways to merge, held against `scaled` at equal FLOPs."""

from __future__ import annotations

from collections.abc import Sequence

from tools.evidence.emulation import Emulation, hashed
from tools.evidence.merging import MERGINGS
from tools.evidence.relative import AROUND, ERROR, RELATIVE, SAVED, error_at
from tools.evidence.tables import Table


def merging_table(emulation: Emulation, counts: Sequence[int], seeds: Sequence[int], sparsity: float) -> Table:
    """Other ways to merge, without and with correction, each held against `scaled` of the same kind."""
    title = f"Ways to merge, s = {sparsity:.2f}; with and without correction of gain and bias"
    table = Table(f"merging-{emulation.model.stem}", title, emulation.facts(seeds))
    for corrected in (False, True):
        for seed in seeds:
            curve = [
                emulation.measure(hashed(emulation, count, sparsity, seed, "scaled", corrected), seed)
                for count in AROUND
            ]
            for name in ("scaled", *(other for other in MERGINGS if other != "scaled")):
                for count in counts:
                    row = emulation.measure(hashed(emulation, count, sparsity, seed, name, corrected), seed)
                    relative = row[ERROR] / error_at(curve, row[SAVED])
                    label = f"{name}, L = {count}{', corrected' * corrected}"
                    table.add(label, {**row, RELATIVE: relative})
    return table
