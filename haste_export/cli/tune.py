"""`haste tune`: every layer's compression under an accuracy budget, as a plan and as levels of one model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import onnx
import onnx_ir as ir
from rich.box import SIMPLE
from rich.table import Table

from haste_export.bench.inputs import InputValueError, input_names, parse_shapes
from haste_export.cli.environment import check_isa
from haste_export.cli.outputs import check_outputs
from haste_export.cli.parameters import ModelPath, decimals, not_negative, numbers, patch_option
from haste_export.cli.progress import progress_bar
from haste_export.cli.support import CONTEXT, GateError, HasteCommand, json_option, make_console, write_json
from haste_export.contract import MERGES
from haste_export.evaluate.dataset import DataError, Dataset, Preprocessing, load_dataset
from haste_export.evaluate.engine import Judge
from haste_export.evaluate.models import compressed_with, load_whole
from haste_export.evaluate.stats import model_layers, patches
from haste_export.evaluate.sweep import Point, sweep_compressed
from haste_export.io import save_model
from haste_export.membus.geometry import Core, core
from haste_export.options import Options
from haste_export.patches import AUTO
from haste_export.plan import LayerSetting
from haste_export.plan_file import OPTIONS, PlanFile
from haste_export.proto import is_compressed
from haste_export.tune import allocate
from haste_export.tune.allocate import Effects
from haste_export.tune.correct import Corrections, MomentMeter, attach, in_plain_layout, samples_to_use
from haste_export.tune.data_free import local_effects, synthetic_dataset
from haste_export.tune.levels import Level, choose_levels, make_plan
from haste_export.tune.objective import CostName, Objective
from haste_export.tune.study import Search

HELP = """Choose the compression of every layer of MODEL, and write it to a plan file.

With --data: searches per-layer L (and tau, with several values of --tau) for the cheapest settings whose accuracy drops
by at most --max-drop. A search that was stopped goes on where it was. Judge the result on other data: --confirm.

With --correct every candidate is corrected before it is judged: gain and bias of each layer's output channels, measured
on unlabelled samples, become part of the model of --export.

With --data-free: allocates L by what the layers do to synthetic images, for given FLOPs reductions. It knows nothing
about accuracy: judge the result with `haste eval` before use.

\b
Examples:
  haste tune model.onnx --data tune.npz --max-drop 0.01 --confirm test.npz --export model.haste.onnx
  haste tune model.onnx --data tune.npz --max-drop 0.005 --objective time --tau 0,0.02,0.05,0.1
  haste tune model.onnx --data-free --reductions 0.2,0.3,0.4
  haste-export model.onnx --plan model.plan.toml
"""

_SAMPLES_FOR_ONE_LAYER = 128  # a layer's own error needs no more; there are many layers and settings
_ABOUT_CORRECTION = (
    "These figures are with the correction that haste tune --export writes into the model. haste-export --plan knows "
    "only the plan, and what it makes of it loses more."
)
_ERROR_BOUND_TO_ATTACH = 1e-3  # any value above 0 makes the exporter give all layers an input for tau


@click.command(cls=HasteCommand, help=HELP, context_settings=CONTEXT)
@click.argument("model", type=ModelPath())
@click.option("--data", metavar="DATA", help="What to tune on, as for `haste eval`.")
@click.option("--data-free", is_flag=True, help="Tune on nothing but the model.")
@click.option(
    "--max-drop",
    type=float,
    callback=not_negative,
    default=0.01,
    show_default=True,
    help="Loss allowed; 0.01 is a point.",
)
@click.option(
    "--objective", type=click.Choice(["flops", "time", "memory"]), default="flops", show_default=True, help="To save."
)
@click.option("--core", "core_name", default="cortex-a72", show_default=True, help="Whose caches: objective memory.")
@click.option(
    "--reductions",
    callback=decimals(above=0, below=1),
    default="0.2,0.3,0.4",
    show_default=True,
    help="Data-free: to save.",
)
@click.option("--trials", type=click.IntRange(1), default=100, show_default=True, help="In all, earlier ones too.")
@click.option("--levels", type=click.IntRange(1), default=3, show_default=True, help="Levels to choose.")
@click.option("--hyperplanes", callback=numbers(1), default="6,7,8,9,10,12,14,17,20,24", show_default=True)
@click.option("--tau", "taus", callback=decimals(), default="0", show_default=True, help="Values to try; 0 is none.")
@click.option("--merge", type=click.Choice(MERGES), default="scaled", show_default=True)
@click.option("--sparsity", type=float, default=Options.sparsity, show_default=True, help="Share of zeros.")
@patch_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of the hyperplanes and the search.")
@click.option("--skip-first", type=int, default=Options.skip_first, show_default=True, help="Convolutions left alone.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Samples per run.")
@click.option("--limit", type=click.IntRange(1), help="Tune on the first samples only.")
@click.option("--mean", callback=decimals(), help="Subtracted from images in 0..1, one number or one per channel.")
@click.option("--std", callback=decimals(above=0), help="Images are then divided by this.")
@click.option("--input-shape", multiple=True, metavar="NAME:1,3,224,224", help="Shape of an input, data-free.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Intra-op threads; 0 leaves it to ONNX Runtime.")
@click.option("--storage", type=click.Path(path_type=Path), help="Journal of the search. [default: MODEL.tune.journal]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Plan file. [default: MODEL.plan.toml]")
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Also write the model with these levels.")
@click.option("--correct", is_flag=True, help="Correct gain and bias, on up to 128 samples of --data.")
@click.option("--confirm", metavar="DATA", help="Judge the levels on this data, which the search does not see.")
@json_option
def command(
    model: Path,
    data: str | None,
    data_free: bool,
    max_drop: float,
    objective: Any,
    core_name: str,
    reductions: tuple[float, ...],
    trials: int,
    levels: int,
    hyperplanes: list[int],
    taus: tuple[float, ...],
    batch: int,
    limit: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    input_shape: tuple[str, ...],
    threads: int,
    storage: Path | None,
    output: Path | None,
    export_to: Path | None,
    correct: bool,
    confirm: str | None,
    json_file: str | None,
    **chosen: Any,
) -> None:
    """Tune a model."""
    if (data is None) != data_free:
        raise click.UsageError("give --data or --data-free, and not both")
    if correct and (data is None or (export_to is None and confirm is None)):
        raise click.UsageError("--correct needs --data, and --export or --confirm to have something to correct")
    target = output or model.with_suffix(".plan.toml")
    journal = storage or model.with_name(f"{model.name}.tune.journal")
    check_outputs([target, export_to, None if data_free else journal, json_file], [model, data, confirm])
    check_isa()
    proto = load_whole(model)
    if is_compressed(proto):
        raise DataError(f"{model} is compressed already; tune the original")
    top = max(hyperplanes)
    options = Options(max_hyperplanes=top, hyperplanes=top, tau=_ERROR_BOUND_TO_ATTACH if any(taus) else 0.0, **chosen)
    preprocessing = Preprocessing(mean, std)
    document: dict[str, Any] = {"model": str(model)}
    if data is None:
        tables: Sequence[Corrections] = []
        plan_file = _tune_data_free(proto, options, hyperplanes, reductions, input_shape, threads, document)
    else:
        dataset = load_dataset(data, proto, batch, preprocessing)
        dataset = dataset.take(limit) if limit is not None else dataset
        wanted = _Wanted(
            objective, core(core_name), max_drop, levels, trials, hyperplanes, taus, correct, journal, threads
        )
        plan_file, tables = _tune(proto, options, dataset, wanted, document)
    plan_file.write(target)
    document["plan"] = str(target)
    console = make_console()
    quiet = json_file == "-"
    if not quiet:
        then = "--export writes the correction too" if correct else f"Next: haste-export {model} --plan {target}"
        console.print(f"Plan: {target}. {then}", highlight=False)
    compressed = compressed_with(proto, Options(plan=plan_file.plan, **plan_file.export_options))
    if tables:
        compressed = attach(compressed, tables)
    if export_to is not None:
        save_model(ir.from_proto(compressed), export_to)
    if confirm is not None:
        points = _confirm(proto, compressed, plan_file, load_dataset(confirm, proto, batch, preprocessing), threads)
        document["confirmed"] = [point.to_json() for point in points]
        if not quiet:
            _print_confirmed(points, confirm)
    write_json(document, json_file)


@dataclass(frozen=True)
class _Wanted:
    """What is searched for, in which settings, and for how long.

    Attributes:
        cost: what is to be saved.
        core: whose caches, where that is memory.
        max_drop: loss allowed at the last level; 0.01 is a point.
        levels: to choose.
        trials: in all, those in the journal too.
        hyperplanes: values of L to try; 0, dense, comes on top.
        taus: error bounds to try.
        correct: whether candidates are corrected before they are judged.
        journal: of the search.
        threads: intra-op; 0 leaves it to ONNX Runtime.
    """

    cost: CostName
    core: Core
    max_drop: float
    levels: int
    trials: int
    hyperplanes: Sequence[int]
    taus: Sequence[float]
    correct: bool
    journal: Path
    threads: int

    @property
    def objective(self) -> str:
        """Trials of one journal are for one objective."""
        saved = f"{self.cost} {self.core.name}" if self.cost == "memory" else self.cost
        return f"{saved} corrected" if self.correct else saved


def _tune(
    proto: onnx.ModelProto, options: Options, dataset: Dataset, wanted: _Wanted, document: dict[str, Any]
) -> tuple[PlanFile, Sequence[Corrections]]:
    """The plan, and the corrections that every level of it was judged with; `document` gets the levels."""
    compressed = compressed_with(proto, options)
    judge = Judge(proto, dataset, wanted.threads)
    meter = _meter(proto, compressed, options, dataset, wanted.threads) if wanted.correct else None
    measured = Objective(judge, compressed, wanted.cost, wanted.core, meter)
    chosen_patches = _chosen_patches(compressed, options)
    stored = {**_stored(options), "patch": chosen_patches or options.patch}
    identity = _identity(proto, dataset, stored, wanted.objective)
    space = ([0, *wanted.hyperplanes], wanted.taus)
    search = Search(list(measured.layers), *space, options.seed, wanted.journal, identity)
    if not search.done:
        few = Judge(proto, _whole_batches(dataset, _SAMPLES_FOR_ONE_LAYER), wanted.threads)
        _begin(search, measured, Objective(few, compressed, meter=meter), wanted)
    with progress_bar("search", max(wanted.trials - search.done, 0)) as advance:
        search.run(wanted.trials, measured.measure, lambda _: advance(1))
    found = choose_levels(search.results(), wanted.max_drop, wanted.levels)
    if not found:
        raise GateError(
            f"nothing that was tried costs less and loses at most {wanted.max_drop:.2%} (with one standard error for "
            "chance): allow more, try larger L, or more trials or data"
        )
    document["levels"] = [asdict(level.result) for level in found]
    _print_levels(found, wanted.cost, judge.stock_quality.score is not None)
    tuned_on = f"{dataset.name}, {judge.stock_quality.samples} samples"
    comments = [
        "Made by haste tune. Edit as you like; haste-export --plan reads it.",
        f"Tuned on {tuned_on}, budget {wanted.max_drop:.2%}, objective {wanted.cost}.",
        *(f"level {place}: {_sentence(level)}" for place, level in enumerate(found, 1)),
        *([_ABOUT_CORRECTION] if wanted.correct else []),
    ]
    plan = make_plan([level.settings for level in found], patches=chosen_patches)
    tables = [meter.calibrate(level.settings) for level in found] if meter else []
    return PlanFile(plan, _stored(options), comments), tables


def _begin(search: Search, measured: Objective, few: Objective, wanted: _Wanted) -> None:
    """Measure each layer alone, on `few` samples, and spend up to two thirds of the trials on what that promises."""
    settings = [LayerSetting(value, tau) for value in sorted(set(wanted.hyperplanes)) for tau in wanted.taus]
    with progress_bar("one layer at a time", len(settings) * len(few.layers)) as advance:
        effects = allocate.measure_effects(list(few.layers), settings, few.saved, lambda: advance(1))
    first = allocate.hull(effects, max(wanted.trials // 3, 4))
    search.suggest_first(first)
    with progress_bar("best trade-offs", min(len(first), wanted.trials)) as advance:
        search.run(min(len(first), wanted.trials), measured.measure, lambda _: advance(1))
    budgets = [wanted.max_drop * step / wanted.levels for step in range(wanted.levels, 0, -1)]
    _close_in(search, measured, effects, budgets, most=wanted.trials // 3, trials=wanted.trials)


def _close_in(
    search: Search, measured: Objective, effects: Effects, budgets: Sequence[float], *, most: int, trials: int
) -> None:
    """Halve the gap on the hull between what fits each budget and what does not, with `most` trials for all."""
    steps = min(most, trials - search.done)
    with progress_bar("closing in on the budget", steps) as advance:
        for step in range(steps):
            budget = budgets[step % len(budgets)]
            tried = search.results()
            fits = [settings for settings, result in tried if result.safe_drop <= budget]
            fails = [settings for settings, result in tried if result.safe_drop > budget]
            if (point := allocate.halfway(effects, fits, fails)) is not None:
                search.suggest_first([point])
                search.run(search.done + 1, measured.measure)
            advance(1)


def _meter(
    proto: onnx.ModelProto, compressed: onnx.ModelProto, options: Options, dataset: Dataset, threads: int
) -> MomentMeter:
    samples = samples_to_use(model_layers(compressed, next(dataset.batches()).feeds))
    return MomentMeter(in_plain_layout(proto, options), _whole_batches(dataset, samples), threads)


def _whole_batches(dataset: Dataset, samples: int) -> Dataset:
    """About so many samples from the front; the model may take no other size of batch."""
    size = len(next(dataset.batches()))
    return dataset.take(max(samples // size, 1) * size)


def _tune_data_free(
    proto: onnx.ModelProto,
    options: Options,
    hyperplanes: Sequence[int],
    reductions: Sequence[float],
    input_shape: Sequence[str],
    threads: int,
    document: dict[str, Any],
) -> PlanFile:
    try:
        dataset = synthetic_dataset(proto, parse_shapes(input_shape, input_names(proto)))
    except InputValueError as error:
        raise DataError(str(error)) from error
    compressed = compressed_with(proto, replace(options, tau=0.0))
    settings = [LayerSetting(value) for value in sorted(set(hyperplanes))]
    with progress_bar("synthetic images", len(settings)) as advance:
        effects = local_effects(compressed, dataset, settings, threads, lambda: advance(1))
    chosen = [allocate.reach(effects, reduction) for reduction in sorted(reductions)]
    reached = [allocate.saved(effects, choice) for choice in chosen]
    document["levels"] = [{"flops_reduction": value} for value in reached]
    comments = [
        "Made by haste tune --data-free, from the model and synthetic images alone.",
        "What it costs in accuracy is unknown: judge it with haste eval on real data before use.",
        *(f"level {place}: about {value:.1%} of the FLOPs saved" for place, value in enumerate(reached, 1)),
    ]
    console = make_console()
    for place, value in enumerate(reached, 1):
        console.print(f"level {place}: about {value:.1%} of the FLOPs saved on synthetic images", highlight=False)
    console.print("Accuracy is unknown: judge the plan with `haste eval` on real data.")
    plan = make_plan(chosen, patches=_chosen_patches(compressed, options))
    return PlanFile(plan, _stored(replace(options, tau=0.0)), comments)


def _identity(proto: onnx.ModelProto, dataset: Dataset, stored: Mapping[str, Any], cost: str) -> str:
    """What makes trials comparable: the same model, data, hyperplanes and cost."""
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True))
    for batch in dataset.batches():
        for values in batch.feeds.values():
            digest.update(values.tobytes())
    return json.dumps([digest.hexdigest(), stored, cost])


def _stored(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in OPTIONS}


def _chosen_patches(compressed: onnx.ModelProto, options: Options) -> dict[str, int]:
    """The layers' patches where they were chosen one by one: an export with other sizes would choose anew."""
    return patches(compressed) if options.patch == AUTO else {}


def _sentence(level: Level) -> str:
    result = level.result
    return (
        f"drop {result.drop:.2%} ± {result.drop_error * 100:.2f}, agreement {1 - result.disagreement:.2%}, "
        f"FLOPs saved {result.flops_reduction:.1%}, cost {result.cost:.3f} of stock"
    )


def _print_levels(levels: Sequence[Level], cost: str, labelled: bool) -> None:
    table = Table(box=SIMPLE)
    heads = ("level", "drop" if labelled else "disagreement", "agreement", "FLOPs saved", f"{cost}, of stock")
    for head in heads:
        table.add_column(head, justify="right")
    for place, level in enumerate(levels, 1):
        result = level.result
        drop = f"{result.drop:.2%} ± {result.drop_error * 100:.2f}"
        agreement = f"{1 - result.disagreement:.2%}"
        table.add_row(str(place), drop, agreement, f"{result.flops_reduction:.1%}", f"{result.cost:.3f}")
    make_console().print(table)


def _confirm(
    proto: onnx.ModelProto, compressed: onnx.ModelProto, plan_file: PlanFile, dataset: Dataset, threads: int
) -> list[Point]:
    judge = Judge(proto, dataset, threads)
    settings = range(len(plan_file.plan.levels) + 1)
    with progress_bar("confirm", len(settings) * judge.stock_quality.samples) as advance:
        return list(sweep_compressed(judge, compressed, settings, progress=advance))


def _print_confirmed(points: Sequence[Point], data: str) -> None:
    table = Table(box=SIMPLE, title=f"On {data}, which the search did not see (level 0 is dense)", title_justify="left")
    for head in ("level", "score", "agreement", "error", "FLOPs saved", "x stock"):
        table.add_column(head, justify="right")
    for point in points:
        score = "-" if point.score is None else f"{point.score:.2%}"
        faster = f"{point.stock_milliseconds / point.milliseconds:.2f}"
        saved = f"{point.flops_reduction:.1%}"
        table.add_row(str(point.setting), score, f"{point.agreement:.2%}", f"{point.error:.3f}", saved, faster)
    make_console().print(table)
