"""Measures the constants of the cost model on this machine: `python tools/speed/calibrate.py [--write]`.

Times every layer of a list of shapes, stock and ours, fits nanoseconds per unit of work by non-negative least squares
on relative errors, and prints how far the model is from each measurement.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import runtime_ops
from haste_export.speed import model as cost_model
from haste_export.speed.model import Costs, HasteStages, StockStages
from haste_export.speed.typical import Counts, typical_counts
from runtime_ops import native
from tools.speed.layers import Measured, Sample, measure, read_shapes

_SPARSITY = 0.5
# Of whole models, not of layers: what rewriting the 3x3 layers of bottlenecks cost beyond the sum of its parts.
_JOIN = 12_000.0
_LANES = {"avx512": 16, "avx2": 8, "neon": 4, "generic": 4}
Array = npt.NDArray[np.float64]


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--shapes", type=click.Path(path_type=Path), default=Path(__file__).with_name("shapes.txt"))
@click.option("--isa", "isas", multiple=True, help="Instruction sets; the best of this machine if none is named.")
@click.option("--seconds", type=float, default=2.0, help="Time to measure per layer.")
@click.option("--write", is_flag=True, help=f"Put the constants into {cost_model.COSTS_FILE.name}.")
@click.option("--check", is_flag=True, help="Fit nothing: compare the stored constants with this machine.")
def main(shapes: Path, isas: tuple[str, ...], seconds: float, write: bool, check: bool) -> None:
    """Calibrate the cost model."""
    library = ctypes.CDLL(runtime_ops.library_path())
    for isa in isas or (native.isa(),):
        if library.haste_select_isa(isa.encode()):
            raise click.ClickException(f"this machine has no {isa}")
        layers = []
        for shape in read_shapes(shapes):
            layers.append(measure(shape, seconds))
            click.echo(".", nl=False, err=True)
        click.echo(err=True)
        costs = cost_model.costs_of(isa) if check else fit(layers)
        report(isa, layers, costs)
        if write and not check:
            _write(isa, costs, native.available_isas()[0])


def fit(layers: Sequence[Measured]) -> Costs:
    """Constants that fit the measurements."""
    rows, times = [], []
    for layer in layers:
        rows.append([*_values(cost_model.stock_work(layer.shape)), _reordered(layer)])
        times.append(layer.stock_ms * 1e6)
    *stock, reorder = _solve(rows, times)
    rows, times = [], []
    for layer in layers:
        for sample in layer.samples:
            work = cost_model.haste_work(sample.shape, sample.counts, sample.hyperplanes, _SPARSITY)
            rows.append([*_values(work), float(sample.converted)])
            times.append(sample.ms * 1e6)
    *haste, convert = _solve(rows, times)
    return Costs(True, StockStages(*stock), HasteStages(*haste), reorder, convert, _JOIN)


def report(isa: str, layers: Sequence[Measured], costs: Costs) -> None:
    """Print the constants, the model against every layer, and the size of its errors."""
    click.echo(json.dumps({isa: asdict(costs)}, indent=2))
    click.echo("layer                            L   stock ms (model)     ours ms (model; typical)    speed-up (model)")
    errors: dict[str, list[float]] = {"stock": [], "ours": [], "ours, typical counts": [], "speed-up": []}
    wrong = 0
    for layer in layers:
        shape = layer.shape
        stock = _stock_ms(layer, costs)
        errors["stock"].append(stock / layer.stock_ms)
        for sample in layer.samples:
            given, typical = (
                _haste_ms(sample, counts, costs)
                for counts in (sample.counts, typical_counts(sample.hyperplanes, shape.taps, sample.shape.patch))
            )
            speedup, expected = layer.stock_ms / sample.ms, stock / given
            wrong += (speedup > 1) != (expected > 1)
            errors["ours"].append(given / sample.ms)
            errors["ours, typical counts"].append(typical / sample.ms)
            errors["speed-up"].append(expected / speedup)
            sizes = f"{shape.in_channels}->{shape.out_channels} {shape.out_h}x{shape.out_w}"
            kernel = f"{shape.kernel_h}x{shape.kernel_w} p={sample.shape.patch}"
            name = f"{sizes} {kernel} {'nchw' if sample.converted else ''}"
            click.echo(
                f"{name:31} {sample.hyperplanes:2} {layer.stock_ms:8.3f} ({stock:8.3f}) {sample.ms:8.3f} "
                f"({given:8.3f}; {typical:8.3f}) {speedup:8.2f} ({expected:5.2f})"
            )
    for name, ratios in errors.items():
        off = np.exp(np.abs(np.log(ratios)))
        click.echo(f"{name:22} off by a factor of {np.median(off):.2f} (median), {off.max():.2f} (worst)")
    click.echo(f"{wrong} of {len(errors['ours'])} would be decided differently from the measurement")


def _stock_ms(layer: Measured, costs: Costs) -> float:
    work = cost_model.total(cost_model.stock_work(layer.shape), costs.stock)
    return (work + _reordered(layer) * costs.reorder) / 1e6


def _haste_ms(sample: Sample, counts: Counts, costs: Costs) -> float:
    work = cost_model.haste_work(sample.shape, counts, sample.hyperplanes, _SPARSITY)
    return (cost_model.total(work, costs.haste) + sample.converted * costs.convert) / 1e6


def _reordered(layer: Measured) -> float:
    """Elements that ONNX Runtime converts for a lone layer of the blocked kernels."""
    return float(layer.tensors) if cost_model.is_blocked_by_stock(layer.shape) else 0.0


def _values(work: StockStages | HasteStages) -> list[float]:
    return [float(getattr(work, field.name)) for field in fields(work)]


def _solve(rows: Sequence[Sequence[float]], times: Sequence[float]) -> list[float]:
    """Non-negative constants with the least squared relative error."""
    matrix: Array = np.asarray(rows, np.float64) / np.asarray(times, np.float64)[:, None]
    scale = np.maximum(matrix.max(axis=0), 1e-30)
    solution, _ = nnls(matrix / scale, np.ones(len(times)))
    return [float(f"{value:.4g}") for value in solution / scale]


def _write(isa: str, costs: Costs, best: str) -> None:
    """Store the constants; stock's of an instruction set that stock did not run with are scaled by its vector length.

    AVX-512 also gives the derived constants of NEON, if none were measured on such a machine.
    """
    stored: dict[str, Any] = {}
    if cost_model.COSTS_FILE.exists():
        stored = json.loads(cost_model.COSTS_FILE.read_text(encoding="utf-8"))
    slower = _LANES[best] / _LANES[isa]
    costs = replace(
        costs, stock=replace(costs.stock, blocked=costs.stock.blocked * slower, gemm=costs.stock.gemm * slower)
    )
    stored[isa] = asdict(costs)
    if isa == "avx512":
        stored["neon"] = asdict(_neon(costs))
    cost_model.COSTS_FILE.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def _neon(wide: Costs) -> Costs:
    """Every cost four times that of vectors four times as long; ONNX Runtime multiplies matrices there."""
    factor = _LANES["avx512"] / _LANES["neon"]
    stock = StockStages(*(value * factor for value in _values(wide.stock)))
    haste = HasteStages(*(value * factor for value in _values(wide.haste)))
    return Costs(False, stock, haste, wide.reorder * factor, wide.convert * factor, wide.join * factor)


if __name__ == "__main__":
    main()
