"""Gain correction against none, at the same uniform L: what the correction alone is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from haste_export.evaluate.dataset import load_dataset
from haste_export.evaluate.models import compressed_with
from haste_export.evaluate.stats import haste_convs
from haste_export.evaluate.sweep import sweep_compressed
from haste_export.options import Options
from haste_export.plan import LayerSetting, Plan
from haste_export.tune.correct import corrected
from tools.evidence.sweeps import Measurement, row
from tools.evidence.tables import Table


def correction_table(
    measured: Measurement, calibration: str, samples: int, hyperplanes: Sequence[int], sparsity: float
) -> Table:
    """Both merges, with and without correction; calibrated on `samples` images that are not judged on."""
    table = measured.table("correction", f"Correction of gain and bias, calibrated on {samples} images")
    images = load_dataset(calibration, measured.stock).take(samples)
    for merge in ("mean", "scaled"):
        for seed in measured.seeds:
            options = _uniform_levels(measured, merge, sparsity, hyperplanes, seed)
            plain = compressed_with(measured.stock, options)
            for label, model in (("plain", plain), ("corrected", corrected(measured.stock, options, images, 1))):
                for point in sweep_compressed(measured.judge, model, range(1, len(hyperplanes) + 1), seed):
                    name = f"{merge}, L = {hyperplanes[point.setting - 1]}, {label}"
                    table.add(name, row(point, measured.judge.stock_quality.score))
    return table


def _uniform_levels(
    measured: Measurement, merge: str, sparsity: float, hyperplanes: Sequence[int], seed: int
) -> Options:
    base = Options(merge=merge, sparsity=sparsity, seed=seed, max_hyperplanes=32)  # type: ignore[arg-type]
    names = [node.name for node in haste_convs(compressed_with(measured.stock, base))]
    return replace(base, plan=Plan(levels=tuple(dict.fromkeys(names, LayerSetting(count)) for count in hyperplanes)))
