"""Exports a model with the defaults and times it against stock."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

import runtime_ops
from haste_export import Report, compress_with_report
from haste_export.bench.inputs import Feeds
from haste_export.bench.interleave import relative_error
from haste_export.bench.plan import Row, Setting, run_plan
from haste_export.bench.worker import Candidate
from tools.engines.machine import busy_cores, warn_if_busy
from tools.zoo.inputs import make_inputs
from tools.zoo.models import Model, fetch, with_shape
from tools.zoo.results import Result, Time

_LEAST_RUNS, _MOST_RUNS = 15, 300
_WARM_UP = 2
_PROBES = 5


def measure(model: Model, hyperplanes: Sequence[int], threads: Sequence[int], seconds: float) -> Result:
    """Export, and time at every L and number of threads on the first input, for about `seconds` each.

    Where nothing is rewritten the result is the original, and stock alone is timed.
    """
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        stock, ours = Path(scratch) / "stock.onnx", Path(scratch) / "model.haste.onnx"
        fixed, name = with_shape(onnx.load_from_string(fetch(model)), model.shape)
        onnx.save(fixed, stock)
        _, report = compress_with_report(stock, ours)
        inputs: list[Feeds] = [{name: array} for array in make_inputs(model.shape, model.picture, model.values)]
        before = busy_cores()
        warn_if_busy(before)
        times = _times(stock, ours if report.rewritten else None, inputs[0], hyperplanes, threads, seconds)
        busy = max(before, busy_cores())
        errors = _errors(stock, ours, inputs, hyperplanes) if report.rewritten else {}
    return _result(model, report, times, errors, busy)


def _errors(stock: Path, ours: Path, inputs: Sequence[Feeds], hyperplanes: Sequence[int]) -> dict[int, float]:
    """Median over the inputs, by L, of the first output's relative error."""
    exact = runtime_ops.Session(stock, library=False)
    expected = [exact.run(feeds) for feeds in inputs]
    session = runtime_ops.Session(ours)
    found = {}
    for count in hyperplanes:
        session.hyperplanes = count
        errors = [relative_error(outputs, session.run(feeds)) for feeds, outputs in zip(inputs, expected, strict=True)]
        found[count] = float(np.median([error or 0.0 for error in errors]))
    return found


def _times(
    stock: Path, ours: Path | None, feeds: Feeds, hyperplanes: Sequence[int], threads: Sequence[int], seconds: float
) -> tuple[Time, ...]:
    candidates = [Candidate("stock", str(stock), None)]
    settings = [Setting()]
    if ours is not None:
        candidates.append(Candidate("haste", str(ours), runtime_ops.library_path()))
        settings = [Setting(hyperplanes=count) for count in hyperplanes]
    found: list[Time] = []
    for count in threads:
        probe = run_plan(candidates[:1], [feeds], [count], [Setting()], _PROBES, 1, _silent)[0].timing.median
        runs = int(np.clip(seconds * 1e3 / probe / len(candidates), _LEAST_RUNS, _MOST_RUNS))
        rows = run_plan(candidates, [feeds] * len(candidates), [count], settings, runs, _WARM_UP, _silent)
        found += _pairs(rows, len(candidates))
    return tuple(found)


def _pairs(rows: Sequence[Row], candidates: int) -> list[Time]:
    """Stock beside ours, of every setting."""
    if candidates == 1:
        return [Time(row.threads, None, row.timing.median) for row in rows]
    found = []
    for stock, ours in zip(rows[::2], rows[1::2], strict=True):
        if not ours.timing.native_calls:
            raise RuntimeError("the fallback bodies ran, not the kernels")
        found.append(
            Time(
                ours.threads,
                ours.setting.hyperplanes,
                stock.timing.median,
                ours.timing.median,
                ours.speedup[1:] if ours.speedup else None,
            )
        )
    return found


def _result(model: Model, report: Report, times: tuple[Time, ...], errors: dict[int, float], busy: float) -> Result:
    now = datetime.datetime.now(datetime.timezone.utc)
    return Result(
        model.name,
        model.what,
        model.requirement,
        model.file,
        model.shape,
        f"{model.picture}, {model.values}",
        len(report.layers),
        len(report.rewritten),
        share_of_flops(report),
        report.dense.pays if report.dense else None,
        times,
        errors,
        now.strftime("%Y-%m-%d %H:%M UTC"),
        round(busy, 2),
    )


def share_of_flops(report: Report) -> float | None:
    """Of all convolutions' FLOPs, the part that the rewritten ones have; None where those of one are not known."""
    if not report.rewritten:
        return 0.0
    flops = [layer.flops_regular for layer in report.layers]
    if None in flops:
        return None
    return sum(layer.flops_regular or 0.0 for layer in report.rewritten) / sum(count or 0.0 for count in flops)


def _silent(_text: str) -> None:
    """Progress is told per model, not per setting."""
