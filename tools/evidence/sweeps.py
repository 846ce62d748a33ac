"""Tables measured with the native operator: L, sparsity, patch size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from haste_export.evaluate.dataset import load_dataset
from haste_export.evaluate.engine import Judge
from haste_export.evaluate.models import load_whole
from haste_export.evaluate.sweep import Point, sweep
from haste_export.options import Options
from tools.evidence.tables import Row, Table


def facts(judge: Judge, model: Path, seeds: Sequence[int]) -> dict[str, str]:
    """What a reader must know about a table."""
    quality = judge.stock_quality
    score = f"{quality.score:.2%}" if quality.score is not None else "not known"
    return {
        "model": model.name,
        "data": f"{judge.dataset.name}, {quality.samples} samples; stock {judge.dataset.metric_name} {score}",
        "seeds": ", ".join(map(str, seeds)) + "; mean ± standard deviation",
        "engine": "native kernels in ONNX Runtime, one thread",
    }


def row(point: Point, stock: float | None) -> Row:
    """The columns of every native table, in per cent where that reads better."""
    drop = (stock - point.score) * 100 if stock is not None and point.score is not None else float("nan")
    return {
        "top-1 loss (points)": drop,
        "agreement (%)": point.agreement * 100,
        "error": point.error,
        "FLOPs saved (%)": point.flops_reduction * 100,
        "r": point.r,
    }


class Measurement:
    """One model on one data set."""

    def __init__(self, model: Path, data: str, limit: int | None, seeds: Sequence[int]) -> None:
        """Run stock."""
        self.path, self.seeds = model, seeds
        self.stock: onnx.ModelProto = load_whole(model)
        dataset = load_dataset(data, self.stock)
        self.judge = Judge(self.stock, dataset.take(limit) if limit is not None else dataset, threads=1)

    def table(self, name: str, title: str) -> Table:
        """An empty table."""
        return Table(f"{name}-{self.path.stem}", title, facts(self.judge, self.path, self.seeds))

    def fill(self, table: Table, label: str, options: Options, hyperplanes: Sequence[int]) -> None:
        """All seeds at these L; `label` is a format with {}, for L."""
        for point in sweep(self.judge, self.stock, options, hyperplanes, self.seeds):
            table.add(label.format(point.setting), row(point, self.judge.stock_quality.score))


def hyperplane_table(measured: Measurement, hyperplanes: Sequence[int], sparsity: float) -> Table:
    """The paper's Tables 4 and 5: accuracy and cost over L, both merges."""
    table = measured.table("hyperplanes", f"Accuracy and cost over L, sparsity {sparsity:.2f}")
    for merge in ("mean", "scaled"):
        measured.fill(table, merge + ", L = {}", Options(merge=merge, sparsity=sparsity), hyperplanes)  # type: ignore[arg-type]
    return table


def sparsity_table(measured: Measurement, hyperplanes: int, sparsities: Sequence[float], merge: str) -> Table:
    """The paper's Table 7: share of zeros in the hyperplanes."""
    table = measured.table("sparsity", f"Sparsity s of the hyperplanes, {merge}, L = {hyperplanes}")
    for sparsity in sparsities:
        options = Options(merge=merge, sparsity=sparsity)  # type: ignore[arg-type]
        measured.fill(table, f"s = {sparsity:.2f}", options, [hyperplanes])
    return table


def patch_table(measured: Measurement, hyperplanes: Sequence[int], patches: Sequence[int], merge: str) -> Table:
    """The paper's Table 9. It counts the window q = p + K − 1 at K = 3: 5, 7, 9 are patches of p = 3, 5, 7 outputs."""
    table = measured.table("patch", f"Patch size, {merge}")
    for patch in patches:
        label = f"window {patch + 2}×{patch + 2} (p = {patch}), L = " + "{}"
        measured.fill(table, label, Options(merge=merge, patch=patch), hyperplanes)  # type: ignore[arg-type]
    return table
