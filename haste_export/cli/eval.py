"""`haste eval`: what a compression costs in accuracy, over L and seeds, or layer by layer."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import onnx
from rich.box import SIMPLE
from rich.table import Table

from haste_export.cli.environment import check_isa
from haste_export.cli.outputs import check_outputs
from haste_export.cli.parameters import ModelPath, decimals, not_negative, numbers, patch_option
from haste_export.cli.progress import progress_bar
from haste_export.cli.support import CONTEXT, GateError, HasteCommand, json_option, make_console, write_json
from haste_export.contract import MERGES
from haste_export.evaluate.dataset import Preprocessing, load_dataset
from haste_export.evaluate.engine import Judge
from haste_export.evaluate.layers import LayerEffect, layer_effects, sort_by_harm
from haste_export.evaluate.models import check_settings, compressed_with, level_count, load_whole
from haste_export.evaluate.plot import check_plot
from haste_export.evaluate.stats import Layer, model_layers
from haste_export.evaluate.sweep import Point, Spread, summarise, sweep, sweep_compressed
from haste_export.io import write_text
from haste_export.options import WEIGHTS, Options
from haste_export.plan import LayerSetting
from haste_export.proto import is_compressed

HELP = """Compare the accuracy of MODEL with that of its compressed form.

MODEL is a plain model, which is compressed once per seed and judged at every L; or a compressed one, whose own levels
or L are judged as they are, against its exact dense form.

DATA is a .npz file with `images` and `labels` (and `mean`, `std`), a folder with one sub-folder of images per class, or
`pkg.module:function` that returns (batches, metric). Without labels only agreement and error can be told.

\b
Examples:
  haste eval model.onnx --data test.npz
  haste eval model.onnx --data test.npz --hyperplanes 8,10,14,20 --seeds 0,1,2 --plot curve.svg
  haste eval model.onnx --data photos/ --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --per-layer
  haste eval model.haste.onnx --data test.npz --hyperplanes 1,2,3 --assert-drop 0.01
"""


DEFAULT_HYPERPLANES = [8, 10, 14, 20]


@click.command(cls=HasteCommand, help=HELP, context_settings=CONTEXT)
@click.argument("model", type=ModelPath())
@click.option("--data", required=True, metavar="DATA", help="What to judge on.")
@click.option("--hyperplanes", callback=numbers(0), help="L, or levels: a list. [default: 8,10,14,20, or all]")
@click.option("--seeds", callback=numbers(0), default="0", show_default=True, help="Seeds of the hyperplanes.")
@click.option("--merge", type=click.Choice(MERGES), default="scaled", show_default=True)
@click.option("--sparsity", type=float, default=Options.sparsity, show_default=True, help="Share of zeros.")
@patch_option
@click.option(
    "--tau", type=float, default=0.0, show_default=True, help="Error bound of the merge, not for mean; 0 is none."
)
@click.option("--skip-first", type=int, default=Options.skip_first, show_default=True, help="Convolutions left alone.")
@click.option("--exclude", multiple=True, metavar="NAME|re:…", help="Layers that stay as they are.")
@click.option(
    "--weights", type=click.Choice(WEIGHTS), default=Options.weights, help="Form of the weights; fp16 rounds."
)
@click.option("--per-layer", is_flag=True, help="Which layer costs how much, at the first L and seed.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Samples per run.")
@click.option("--limit", type=click.IntRange(1), help="Use the first samples only.")
@click.option("--mean", callback=decimals(), help="Subtracted from images in 0..1, one number or one per channel.")
@click.option("--std", callback=decimals(above=0), help="Images are then divided by this.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Intra-op threads; 0 leaves it to ONNX Runtime.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the numbers as CSV.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw a picture, .svg, .png or .pdf.")
@click.option(
    "--assert-drop",
    type=float,
    callback=not_negative,
    metavar="X",
    help="Exit with 1 if an L loses more; 0.01 is a point.",
)
@json_option
def command(
    model: Path,
    data: str,
    hyperplanes: list[int] | None,
    seeds: list[int],
    per_layer: bool,
    batch: int,
    limit: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    threads: int,
    csv_file: Path | None,
    plot: Path | None,
    assert_drop: float | None,
    json_file: str | None,
    **chosen: Any,
) -> None:
    """Judge a model at several settings, or layer by layer."""
    check_outputs([csv_file, plot, json_file], [model, data])
    check_isa()
    if plot is not None:
        check_plot(plot)
    proto = load_whole(model)
    dataset = load_dataset(data, proto, batch, Preprocessing(mean, std))
    dataset = dataset.take(limit) if limit is not None else dataset
    options = Options(**chosen)
    with progress_bar("stock") as advance:
        judge = Judge(proto, dataset, threads, advance)
    run = _per_layer if per_layer else _sweep
    wanted = hyperplanes or list(range(1, level_count(proto) + 1)) or DEFAULT_HYPERPLANES
    run(_Job(model, proto, judge, options, wanted, seeds, csv_file, plot, json_file, assert_drop))


@dataclass(frozen=True)
class _Job:
    """What is judged, at which settings, and where the result goes."""

    path: Path
    proto: onnx.ModelProto
    judge: Judge
    options: Options
    hyperplanes: Sequence[int]
    seeds: Sequence[int]
    csv_file: Path | None
    plot: Path | None
    json_file: str | None
    assert_drop: float | None


def _sweep(job: _Job) -> None:
    judge, path = job.judge, job.path
    compressed = is_compressed(job.proto)
    passes = len(job.hyperplanes) * (1 if compressed else len(job.seeds))
    with progress_bar("compressed", passes * judge.stock_quality.samples) as advance:
        if compressed:
            points = list(sweep_compressed(judge, job.proto, job.hyperplanes, progress=advance))
        else:
            points = list(sweep(judge, job.proto, job.options, job.hyperplanes, job.seeds, advance))
    summary = summarise(points)
    if job.json_file != "-":
        _print_sweep(judge, summary)
    stock = {"samples": judge.stock_quality.samples, "score": judge.stock_quality.score}
    document = {
        "model": str(path),
        "data": judge.dataset.name,
        "metric": judge.dataset.metric_name if judge.dataset.labelled else None,
        "stock": stock,
        "points": [point.to_json() for point in points],
    }
    write_json(document, job.json_file)
    if job.csv_file is not None:
        write_csv(job.csv_file, [point.to_json() for point in points])
    if job.plot is not None:
        from haste_export.evaluate.plot import plot_sweep

        plot_sweep(job.plot, summary, judge.stock_quality.score, judge.dataset.metric_name, path.name)
    _check_drop(judge, points, job.assert_drop)


def _print_sweep(judge: Judge, summary: Mapping[int, Mapping[str, Spread | None]]) -> None:
    console, quality, dataset = make_console(), judge.stock_quality, judge.dataset
    if quality.score is None:
        console.print(f"{dataset.name}: {quality.samples} samples, no labels: only agreement and error can be told.")
    else:
        console.print(f"{dataset.name}: {quality.samples} samples, stock {dataset.metric_name} {quality.score:.2%}")
    table = Table(box=SIMPLE, padding=0)
    heads = ["L", dataset.metric_name, "agreement", "cosine", "error", "r", "FLOPs saved", "ms", "x stock"]
    for head in heads if quality.score is not None else heads[:1] + heads[2:]:
        table.add_column(head, justify="right", no_wrap=True)
    for setting, row in summary.items():
        ours, stock = row["milliseconds"], row["stock_milliseconds"]
        faster = stock.mean / ours.mean if ours is not None and stock is not None and ours.mean else 0.0
        score = [] if quality.score is None else [_percent(row["score"])]
        numbers_ = [_number(row["cosine"]), _number(row["error"]), _number(row["r"]), _percent(row["flops_reduction"])]
        table.add_row(str(setting), *score, _percent(row["agreement"]), *numbers_, _number(ours), f"{faster:.2f}")
    console.print(table)


def _percent(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.mean:.2%}" + (f" ± {spread.std * 100:.2f}" if spread.std else "")


def _number(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if 0 < abs(spread.mean) < 5e-4:
        return f"{spread.mean:.1e}"
    return f"{spread.mean:.3f}" + (f" ± {spread.std:.3f}" if spread.std > 5e-4 else "")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of equal keys as CSV with a head. Raises OutputError when the file can not be written."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(text.getvalue(), path)


def _check_drop(judge: Judge, points: Sequence[Point], limit: float | None) -> None:
    if limit is None:
        return
    stock = judge.stock_quality.score
    for point in points:
        drop = 1 - point.agreement if stock is None or point.score is None else stock - point.score
        if drop > limit:
            raise GateError(f"at {point.setting} the model loses {drop:.2%}, more than {limit:.2%}")


def _per_layer(job: _Job) -> None:
    judge, path = job.judge, job.path
    if job.assert_drop is not None:
        raise click.UsageError("--assert-drop is for whole models, not for --per-layer")
    setting = LayerSetting(job.hyperplanes[0], job.options.tau)
    options = replace(job.options, seed=job.seeds[0])
    compressed = job.proto if is_compressed(job.proto) else compressed_with(job.proto, options)
    if level_count(compressed):
        raise click.UsageError("--per-layer needs a plain model, or one that is steered by L")
    check_settings(compressed, job.hyperplanes[:1])
    with progress_bar("layers") as advance:
        effects = layer_effects(judge, compressed, setting, lambda: advance(1))
    layers = {layer.name: layer for layer in model_layers(compressed, next(judge.dataset.batches()).feeds)}
    rows = [_layer_row(effect, layers[effect.name], judge.stock_quality.score) for effect in sort_by_harm(effects)]
    if job.json_file != "-":
        _print_layers(judge, rows, setting)
    document = {"model": str(path), "data": judge.dataset.name, "setting": asdict(setting), "layers": rows}
    write_json(document, job.json_file)
    if job.csv_file is not None:
        write_csv(job.csv_file, rows)
    if job.plot is not None:
        from haste_export.evaluate.plot import plot_layers

        plot_layers(job.plot, effects, f"{path.name}, L = {setting.hyperplanes}")


def _layer_row(effect: LayerEffect, layer: Layer, stock: float | None) -> dict[str, Any]:
    quality, stats = effect.alone.quality, effect.alone.stats[effect.name]
    r = float(1 - stats[2] / stats[1]) if stats[1] else 0.0
    return {
        "layer": effect.name,
        "drop": None if stock is None or quality.score is None else stock - quality.score,
        "agreement": quality.agreement,
        "error": quality.error,
        "patch": layer.shape.patch,
        "local_error": effect.local_error,
        "r": r,
        "input_bytes": layer.input_bytes,
        "merged_bytes": layer.merged_bytes(r),
    }


def _print_layers(judge: Judge, rows: Sequence[Mapping[str, Any]], setting: LayerSetting) -> None:
    console = make_console()
    console.print(
        f"{judge.dataset.name}: {judge.stock_quality.samples} samples, L = {setting.hyperplanes}. "
        "The layer that changes the output most comes first.\n"
        "loss, agreement, error: this layer compressed, all others dense. "
        "own error: of the layer's output, its input being stock's."
    )
    table = Table(box=SIMPLE)
    table.add_column("layer")
    for head in ("loss", "agreement", "error", "own error", "p", "r"):
        table.add_column(head, justify="right")
    for row in rows:
        drop = "-" if row["drop"] is None else f"{row['drop']:.2%}"
        error, own, r = (f"{row[key]:.4f}" for key in ("error", "local_error", "r"))
        table.add_row(row["layer"], drop, f"{row['agreement']:.2%}", error, own, str(row["patch"]), r)
    console.print(table)
