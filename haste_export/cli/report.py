"""`haste report`: one self-contained HTML page about a model and its compression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx

from haste_export.bench.inputs import InputValueError, input_names, parse_shapes
from haste_export.cli.environment import check_isa
from haste_export.cli.eval import DEFAULT_HYPERPLANES
from haste_export.cli.outputs import check_outputs
from haste_export.cli.parameters import ModelPath, decimals, numbers
from haste_export.cli.progress import progress_bar
from haste_export.cli.support import CONTEXT, HasteCommand, json_option, write_json
from haste_export.contract import MERGES
from haste_export.errors import OptionError
from haste_export.evaluate.dataset import DataError, Dataset, Preprocessing, load_dataset
from haste_export.evaluate.engine import Judge, Outcome
from haste_export.evaluate.models import check_settings, compressed_with, level_count, load_whole
from haste_export.evaluate.stats import Layer, hyperplanes_in_use, model_layers
from haste_export.evaluate.sweep import point
from haste_export.io import write_text
from haste_export.options import Options
from haste_export.plan_file import PlanFile, read_plan
from haste_export.proto import is_compressed
from haste_export.report_html.collect import layer_views
from haste_export.report_html.page import Contents, LayerRow, render
from haste_export.tune.data_free import synthetic_dataset

HELP = """Write one HTML page about MODEL, plain or compressed, that opens offline.

It shows the layers and what they cost, r of every layer, accuracy against FLOPs and time, and the layers from the
inside on one image: r over the image, which channels are merged how often, feature maps before and after merging.

\b
Examples:
  haste report model.onnx --data test.npz
  haste report model.onnx --data test.npz --hyperplanes 8,10,14,20 --setting 10 --image 3
  haste report model.haste.onnx --data test.npz --hyperplanes 1,2,3 -o page.html
"""


@click.command(cls=HasteCommand, help=HELP, context_settings=CONTEXT)
@click.argument("model", type=ModelPath())
@click.option("--data", metavar="DATA", help="As for `haste eval`. [default: synthetic images]")
@click.option("--hyperplanes", callback=numbers(1), help="Values of L, or levels.  [default: 8,10,14,20; all levels]")
@click.option("--setting", type=click.IntRange(1), help="The one shown in detail. [default: the middle one]")
@click.option("--image", type=click.IntRange(0), default=0, show_default=True, help="Which sample to look at.")
@click.option("--merge", type=click.Choice(MERGES), default="scaled", show_default=True)
@click.option("--sparsity", type=float, default=Options.sparsity, show_default=True, help="Share of zeros.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the hyperplanes.")
@click.option("--plan", "plan_path", type=click.Path(path_type=Path), help="Compress a plain model by this plan.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Samples per run.")
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, help="Use the first samples only.")
@click.option("--mean", callback=decimals(), help="Subtracted from images in 0..1, one number or one per channel.")
@click.option("--std", callback=decimals(above=0), help="Images are then divided by this.")
@click.option("--input-shape", multiple=True, metavar="NAME:1,3,224,224", help="Shape of an input, without --data.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Intra-op threads; 0 leaves it to ONNX Runtime.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: MODEL.html]")
@json_option
def command(
    model: Path,
    data: str | None,
    hyperplanes: list[int] | None,
    setting: int | None,
    image: int,
    merge: Any,
    sparsity: float,
    seed: int,
    plan_path: Path | None,
    batch: int,
    limit: int,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    input_shape: tuple[str, ...],
    threads: int,
    output: Path | None,
    json_file: str | None,
) -> None:
    """Write the page."""
    target = output or model.with_suffix(".html")
    check_outputs([target, json_file], [model, data, plan_path])
    check_isa()
    proto = load_whole(model)
    if data is not None:
        dataset = load_dataset(data, proto, batch, Preprocessing(mean, std)).take(limit)
    else:
        dataset = _synthetic(proto, input_shape)
    chosen = read_plan(plan_path) if plan_path is not None else None
    compressed = proto if is_compressed(proto) else _compress(proto, chosen, hyperplanes, merge, sparsity, seed)
    settings = hyperplanes or list(range(1, level_count(compressed) + 1)) or DEFAULT_HYPERPLANES
    check_settings(compressed, settings)
    shown = setting or settings[len(settings) // 2]
    if shown not in settings:
        raise OptionError(f"--setting {shown} is none of {', '.join(map(str, settings))}")
    contents = _contents(model.name, proto, compressed, dataset, settings, shown, image, threads)
    write_text(render(contents), target)
    document = {"model": str(model), "report": str(target), "points": [entry.to_json() for entry in contents.points]}
    write_json(document, json_file)
    if json_file != "-":
        click.echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def _synthetic(proto: onnx.ModelProto, input_shape: tuple[str, ...]) -> Dataset:
    try:
        return synthetic_dataset(proto, parse_shapes(input_shape, input_names(proto)))
    except InputValueError as error:
        raise DataError(str(error)) from error


def _compress(
    proto: onnx.ModelProto, plan: PlanFile | None, hyperplanes: list[int] | None, merge: Any, sparsity: float, seed: int
) -> onnx.ModelProto:
    if plan is not None:
        return compressed_with(proto, Options(plan=plan.plan, **plan.export_options))
    top = max(hyperplanes or [Options.max_hyperplanes])
    wanted = min(Options.hyperplanes, top)
    return compressed_with(
        proto, Options(hyperplanes=wanted, max_hyperplanes=top, merge=merge, sparsity=sparsity, seed=seed)
    )


def _contents(
    name: str,
    stock: onnx.ModelProto,
    compressed: onnx.ModelProto,
    dataset: Dataset,
    settings: list[int],
    shown: int,
    image: int,
    threads: int,
) -> Contents:
    judge = Judge(stock, dataset, threads)
    session = judge.open(compressed)
    by_level = level_count(compressed) > 0
    sample = _sample(dataset, image)
    layers = model_layers(compressed, sample)
    points, outcomes = [], {}
    with progress_bar("measuring", len(settings) * judge.stock_quality.samples) as advance:
        for value in settings:
            if by_level:
                session.level = value
            else:
                session.hyperplanes = value
            outcomes[value] = judge.judge(session, advance)
            points.append(point(outcomes[value], layers, hyperplanes_in_use(compressed, value), value, None))
    counts = hyperplanes_in_use(compressed, shown)
    return Contents(
        model=name,
        data=f"{dataset.name}, {judge.stock_quality.samples} samples",
        stock_score=judge.stock_quality.score,
        metric=dataset.metric_name,
        rows=[_row(layer, counts.get(layer.name, 0), outcomes[shown]) for layer in layers],
        setting=shown,
        rates={value: _rates(outcome) for value, outcome in outcomes.items()},
        points=points,
        views=list(layer_views(compressed, sample, counts)),
        image=_picture(sample),
        setting_name="level" if by_level else "L",
    )


def _sample(dataset: Dataset, index: int) -> dict[str, Any]:
    """One sample with its batch dimension; a model of fixed batch size gets it repeated."""
    seen = 0
    for batch in dataset.batches():
        if index < seen + len(batch):
            place = index - seen
            return {name: array[place : place + 1] for name, array in batch.feeds.items()}
        seen += len(batch)
    raise OptionError(f"--image {index}: the data has only {seen} samples (see --limit)")


def _picture(sample: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    if len(sample) != 1:
        return None
    (array,) = sample.values()
    if array.ndim != 4:
        return None
    pixels = array[0].transpose(1, 2, 0) if array.shape[1] in (1, 3) else array[0]
    if pixels.shape[2] not in (1, 3):
        return None
    return np.asarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, np.float32)


def _row(layer: Layer, count: int, outcome: Outcome) -> LayerRow:
    stats = outcome.stats.get(layer.name)
    shape = layer.shape
    return LayerRow(
        layer.name,
        (shape.in_channels, shape.out_channels),
        (shape.kernel_h, shape.kernel_w),
        (shape.out_h, shape.out_w),
        shape.patch if layer.compressed else None,
        count,
        layer.cost(count, stats),
        None if stats is None or not count else float(1 - stats[2] / stats[1]),
        layer.input_bytes,
    )


def _rates(outcome: Outcome) -> dict[str, float]:
    return {name: float(1 - stats[2] / stats[1]) for name, stats in outcome.stats.items() if stats[1]}
