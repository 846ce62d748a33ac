"""Tables measured with the native operator: L, sparsity, patch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from haste_export.contract import Merge
from tools.evidence.measure import Measurement
from tools.evidence.relative import ERROR, SAVED, error_at
from tools.evidence.settings import MERGES, Method, uniform
from tools.evidence.tables import Table

_USUAL = 2 / 3
_CURVE = (8, 10, 12, 14, 20)
_MOST_LEFT_ALONE = 2


def hyperplane_table(measured: Measurement, hyperplanes: Sequence[int], sparsity: float) -> Table:
    """The paper's Tables 4 and 5: accuracy and cost over L, both merges."""
    table = measured.table("hyperplanes", f"Accuracy and cost over L, sparsity {sparsity:.2f}")
    for merge in MERGES:
        measured.fill(table, merge + ", {}", Method(merge, sparsity), uniform(hyperplanes))
    return table


def sparsity_table(measured: Measurement, hyperplanes: int, sparsities: Sequence[float], merge: Merge) -> Table:
    """The paper's Table 7: share of zeros in the hyperplanes, at one L and at equal FLOPs."""
    title = f"Sparsity s of the hyperplanes, {merge}, L = {hyperplanes}"
    relative = f"error / that of s = {_USUAL:.2f} at equal FLOPs"
    table = measured.table("sparsity", title, {"equal FLOPs": f"against s = {_USUAL:.2f} at other L"})
    curve = measured.rows(Method(merge, _USUAL), uniform(_CURVE))
    for sparsity in sparsities:
        (rows,) = measured.rows(Method(merge, sparsity), uniform([hyperplanes]))
        for place, row in enumerate(rows):
            exact = error_at([point[place] for point in curve], row[SAVED])
            table.add(f"s = {sparsity:.2f}", {**row, relative: row[ERROR] / exact})
    return table


def first_table(measured: Measurement, hyperplanes: Sequence[int], merge: Merge) -> Table:
    """How many layers stay as they are at the front, beside the network's first, which always does."""
    method = Method(merge)
    title = f"Layers left alone at the front, beside the first of the network, {merge}"
    relative = "error / that of leaving none at equal FLOPs"
    table = measured.table("first", title)
    names = measured.layers(method.options(0))
    curve = measured.rows(method, uniform(_CURVE))
    for count in range(_MOST_LEFT_ALONE + 1):
        settings = uniform(hyperplanes)
        for setting, rows in zip(
            settings, measured.rows(replace(method, stay=tuple(names[:count])), settings), strict=True
        ):
            for place, row in enumerate(rows):
                exact = error_at([point[place] for point in curve], row[SAVED])
                table.add(f"{count} left alone, {setting.name}", {**row, relative: row[ERROR] / exact})
    return table


def patch_table(measured: Measurement, hyperplanes: Sequence[int], patches: Sequence[int], merge: Merge) -> Table:
    """The paper's Table 9. It counts the window q = p + K − 1 at K = 3: 5, 7, 9 are patches of p = 3, 5, 7 outputs."""
    table = measured.table("patch", f"Patch size, {merge}")
    for patch in patches:
        label = f"window {patch + 2}×{patch + 2} (p = {patch}), " + "{}"
        measured.fill(table, label, Method(merge, patch=patch), uniform(hyperplanes))
    return table


def correction_table(
    measured: Measurement,
    samples: int,
    hyperplanes: Sequence[int],
    sparsity: float,
    merges: Sequence[Merge],
    synthetic: bool,
) -> Table:
    """With and without correction of gain and bias, at the same uniform L; also by synthetic images, if wanted."""
    name = "correction-synthetic" if synthetic else "correction"
    table = measured.table(name, f"Correction of gain and bias, calibrated on {samples} images")
    for merge in merges:
        plain = Method(merge, sparsity)
        kinds = {"plain": plain, "corrected": replace(plain, corrected=True)}
        if synthetic:
            kinds["corrected on synthetic images"] = replace(plain, corrected=True, synthetic=True)
        for label, method in kinds.items():
            measured.fill(table, f"{merge}, {{}}, {label}", method, uniform(hyperplanes))
    return table
