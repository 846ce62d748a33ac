"""What haste-export tells of its result: a table of the layers, and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from haste_export.report import DenseSpeed, LayerReport, ModelSpeed, Report

_TIMES = "\N{MULTIPLICATION SIGN}"


def print_report(report: Report, console: Console, verbose: int) -> None:
    """Print a table of the layers, and in sentences what became of the model; `verbose` names every layer left."""
    if report.layers:
        console.print(_table(report.layers))
    for warning in report.warnings:
        console.print(f"[yellow]Warning:[/] {escape(warning)}", highlight=False)
    for layer in report.left if verbose else ():
        console.print(escape(layer.sentence), highlight=False)
    _print_outcome(report, console)
    if report.options.weights == "fp16" and report.rewritten:
        _print_half(report, console)
    if report.speed is not None:
        _print_measured(report.speed, console)
    if report.dense is not None and not report.dense.pays:
        _print_dense(report.dense, report.options.hyperplanes, console)
    if report.check is not None:
        _print_check(report.check, console)


def _print_outcome(report: Report, console: Console) -> None:
    """How many convolutions were rewritten, and if none, why."""
    from haste_export.speed.dense import is_comparable

    total = len(report.layers)
    if report.speed is not None and report.speed.unchanged:
        console.print(f"Nothing here gets faster; model unchanged: {escape(str(report.target))}")
    elif not report.rewritten and any(layer.speed for layer in report.layers):
        console.print(f"No convolution is predicted to gain; model unchanged: {escape(str(report.target))}")
        console.print("--select all rewrites all that qualify, --only-faster measures.")
    elif not report.rewritten:
        reason = "it has no Conv" if total == 0 else f"none of its {total} convolutions qualifies"
        console.print(f"Nothing to do: {reason}. {escape(str(report.target))} computes what the original computes.")
    else:
        console.print(f"{len(report.rewritten)} of {total} convolutions rewritten: {escape(str(report.target))}")
        console.print(f"Steering input: {report.steering}", highlight=False)
        if report.options.stats:
            console.print("Statistics: further outputs, haste_stats/LAYER; without the op library they are zero.")
    if not report.rewritten and any(layer.speed for layer in report.layers) and is_comparable(report.options):
        console.print("--hyperplanes 0 asks the same of dense mode, which merges nothing and loses no accuracy.")


def _print_measured(speed: ModelSpeed, console: Console) -> None:
    """The model's times before and after."""
    threads = f"{speed.threads} thread{'s' if speed.threads > 1 else ''}"
    console.print(
        f"Measured, {threads}, {speed.isa}, {escape(speed.input)}: {speed.stock_ms:.2f} ms before, "
        f"{speed.haste_ms:.2f} ms {'at best' if speed.unchanged else 'after'} ({speed.speedup:.2f}{_TIMES}).",
        highlight=False,
    )


def _print_check(check: Mapping[str, Any], console: Console) -> None:
    """How far the compressed model is from the original."""
    verdict = "[green]passed[/]" if check["passed"] else "[red]failed[/]"
    console.print(
        f"Check {verdict} over {check['runs']} run{'' if check['runs'] == 1 else 's'}, by {check['ran']}: "
        f"relative error {check['dense_error']:.1e} dense, {check['default_error']:.1e} at the default."
    )


def _print_dense(dense: DenseSpeed, hyperplanes: int, console: Console) -> None:
    """That hashing does not pay, and what to do."""
    predicted = dense.source == "model"
    verdict = "is not predicted to be" if predicted else "is not"
    times = f"{dense.haste_ms:.3g} and {dense.dense_ms:.3g} ms{' for the rewritten layers' if predicted else ''}"
    compare = f"compare them on your input (haste bench --hyperplanes 0,{hyperplanes}) and " if predicted else ""
    console.print(
        f"L = {hyperplanes} {verdict} meaningfully faster than L = 0, dense mode, which loses no accuracy ({times}): "
        f"{compare}steer to 0 or export with --hyperplanes 0, or use a smaller L with haste tune --correct.",
        highlight=False,
    )


def _print_half(report: Report, console: Console) -> None:
    """How many weights became float16, and why others did not."""
    stay = [layer for layer in report.rewritten if layer.float32_because]
    console.print(
        f"Weights of {len(report.rewritten) - len(stay)} of {len(report.rewritten)} layers in float16: "
        f"{report.weight_bytes / 1e6:.2f} MB, {report.weight_bytes_float32 / 1e6:.2f} MB as float32.",
        highlight=False,
    )
    for layer in stay:
        console.print(escape(layer.sentence), highlight=False)


def _table(layers: list[LayerReport]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("layer", overflow="fold")
    for title in ("C → M", "kernel", f"H{_TIMES}W", "MFLOPs", "p", "L"):
        table.add_column(title, justify="right")
    sources = {layer.speed.source for layer in layers if layer.speed is not None}
    if sources:
        table.add_column("ms, predicted" if sources == {"model"} else "ms, alone", justify="right")
    for title in ("layout", "fused", "left, because"):
        table.add_column(title)
    for layer in layers:
        flops = layer.flops_regular
        fused = [layer.activation] if layer.activation else []
        fused += ["residual"] if layer.residual_layout else []
        table.add_row(
            escape(layer.name),
            f"{_known(layer.in_channels)} → {_known(layer.out_channels)}",
            _TIMES.join(map(str, layer.kernel)),
            f"{_known(layer.height)}{_TIMES}{_known(layer.width)}",
            "?" if flops is None else f"{flops / 1e6:.1f}",
            "" if layer.patch is None else str(layer.patch),
            "" if layer.hyperplanes is None else str(layer.hyperplanes),
            *([_milliseconds(layer)] if sources else []),
            f"{layer.input_layout} → {layer.output_layout}" if layer.status == "rewritten" else "",
            ", ".join(fused),
            escape(layer.reason or ""),
        )
    return table


def _milliseconds(layer: LayerReport) -> str:
    """As Conv, and as HasteConv."""
    return "" if layer.speed is None else f"{layer.speed.stock_ms:.3g} → {layer.speed.haste_ms:.3g}"


def _known(value: int | None) -> str:
    return "?" if value is None else str(value)
