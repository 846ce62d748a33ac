"""`haste membus`: bytes that cross the memory bus during an inference."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
from rich.box import SIMPLE
from rich.table import Table

from haste_export.bench.inputs import Feeds
from haste_export.cli.bench import make_feeds, rename_feeds
from haste_export.cli.support import CONTEXT, HasteCommand, json_option, make_console, write_json
from haste_export.errors import MissingDependencyError
from haste_export.membus import analytic
from haste_export.membus.geometry import CORES, Core, core
from haste_export.membus.hardware import HardwareResult, measure
from haste_export.membus.layers import LayerPair, cut_layers
from haste_export.membus.qemu import find_qemu
from haste_export.membus.runner import find_runner
from haste_export.membus.simulation import Job, Simulator, Traffic
from haste_export.membus.valgrind import find_valgrind
from haste_export.proto import is_compressed, read_model
from runtime_ops import LibraryNotFoundError, library_path

HELP = """Bytes that cross the memory bus during one inference.

Two models are compared, the original first. One compressed model is compared with its own exact form.

On a board the processor's or the memory controller's counters count, after they were checked against streams of known
size; which one, and what it means, is printed. Where there are none, the exit code is 3; --simulate computes the bytes
from the instructions that the two engines execute, and needs no board.

\b
Examples:
  haste membus model.onnx model.haste.onnx
  haste membus model.onnx model.haste.onnx --per-layer --simulate cortex-a72 --npy image.npy
"""


@click.command(cls=HasteCommand, help=HELP, context_settings=CONTEXT)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path), required=False)
@click.option("--simulate", "simulated", metavar="CORE", help=f"Simulate the caches of: {', '.join(CORES)}.")
@click.option(
    "--simulator", type=click.Choice(["qemu", "valgrind"]), default="qemu", show_default=True, help="What simulates."
)
@click.option("--per-layer", is_flag=True, help="Every HasteConv alone, cold, beside the same part of the original.")
@click.option("--analytic", "computed", metavar="CORE", help="Per layer: what the algorithms must move, computed.")
@click.option("--runs", type=click.IntRange(4), default=20, show_default=True, help="Counted inferences per model.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="Intra-op threads (counters only)."
)
@click.option("--cpus", metavar="0,1", help="Processors to pin to; all of one core type. Default: the first allowed.")
@click.option("--hyperplanes", type=int, help="Value of L to steer to; 0 is dense.")
@click.option("--level", type=click.IntRange(0), help="Tuned level to steer to.")
@click.option("--input-shape", multiple=True, metavar="NAME:1,3,224,224", help="Shape of an input.")
@click.option("--image", type=click.Path(path_type=Path), help="Feed this photograph, resized, scaled to 0..1.")
@click.option("--npy", type=click.Path(path_type=Path), help="Feed the array of a .npy, or those of a .npz file.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep the models and inputs that were made in this folder."
)
@json_option
def command(
    model: Path,
    other: Path | None,
    simulated: str | None,
    simulator: str,
    per_layer: bool,
    computed: str | None,
    runs: int,
    threads: int,
    cpus: str | None,
    hyperplanes: int | None,
    level: int | None,
    input_shape: tuple[str, ...],
    image: Path | None,
    npy: Path | None,
    keep: Path | None,
    json_file: str | None,
) -> None:
    """Count, simulate or compute."""
    if image is not None and npy is not None:
        raise click.UsageError("--image and --npy exclude each other")
    if hyperplanes is not None and level is not None:
        raise click.UsageError("--hyperplanes and --level exclude each other")
    if simulated and computed:
        raise click.UsageError("--simulate and --analytic exclude each other: their numbers never share a table")
    if simulated and threads != 1:
        raise click.UsageError("a simulation has one thread; leave --threads out")
    core_name = simulated or computed
    shown_core = core(core_name) if core_name else None
    paths = [path for path in (model, other) if path is not None]
    protos = [read_model(path) for path in paths]
    steering = _steering(hyperplanes, level)
    first = make_feeds(protos[0], input_shape, None, image, npy)
    feeds = [first, *(rename_feeds(first, proto) for proto in protos[1:])]
    with _folder(keep) as name:
        folder = Path(name)
        jobs = _jobs(paths, protos, feeds, steering, folder)
        if per_layer or computed:
            pairs = _pairs(paths, protos, feeds, steering, folder / "layers")
            if computed:
                assert shown_core is not None
                result = _show_analytic(pairs, shown_core, json_file != "-")
            elif shown_core is None:
                raise click.UsageError("--per-layer needs --simulate CORE or --analytic CORE")
            else:
                result = _show_layers(pairs, _simulator(simulator), shown_core, json_file != "-")
        elif shown_core is not None:
            result = _show_models(jobs, _simulator(simulator), shown_core, json_file != "-")
        else:
            result = _show_hardware(jobs, runs, threads, cpus, json_file != "-")
    write_json(result, json_file)


def _folder(keep: Path | None) -> AbstractContextManager[str]:
    if keep is None:
        return tempfile.TemporaryDirectory(prefix="haste-membus-")
    keep.mkdir(parents=True, exist_ok=True)
    return nullcontext(str(keep))


def _steering(hyperplanes: int | None, level: int | None) -> dict[str, int]:
    if hyperplanes is not None:
        return {"haste_hyperplanes": hyperplanes}
    return {"haste_level": level} if level is not None else {}


def _library() -> str:
    try:
        return library_path()
    except LibraryNotFoundError as error:
        raise MissingDependencyError(f"{error}\n`haste doctor` tells more.") from error


def _simulator(name: str) -> Simulator:
    if name == "qemu":
        return find_qemu()
    return find_valgrind(_own_runtime(), _library())


def _own_runtime() -> str:
    """libonnxruntime.so of the installed Python package; older wheels have none."""
    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    if not found:
        raise MissingDependencyError(
            f"onnxruntime {onnxruntime.__version__} brings no libonnxruntime.so; install 1.20 or newer"
        )
    return str(found[0])


def _jobs(
    paths: Sequence[Path],
    protos: Sequence[onnx.ModelProto],
    feeds: Sequence[Feeds],
    steering: Mapping[str, int],
    folder: Path,
) -> list[tuple[str, Job]]:
    """What to run, original first; one compressed model runs twice, first without the library."""
    jobs = []
    for index, (path, proto, values) in enumerate(zip(paths, protos, feeds, strict=True)):
        options = []
        for number, (name, value) in enumerate(values.items()):
            file = folder / f"model{index}_input{number}.npy"
            np.save(file, np.ascontiguousarray(value))
            options += ["--input", f"{name}={file}"]
        compressed = is_compressed(proto)
        if compressed and len(paths) == 1:
            jobs.append((f"{path}, exact", Job(path, tuple(options), native=False)))
        if compressed:
            options += [f"--{name.removeprefix('haste_')}={value}" for name, value in steering.items()]
        jobs.append((str(path), Job(path, tuple(options), native=compressed)))
    return jobs


def _pairs(
    paths: Sequence[Path],
    protos: Sequence[onnx.ModelProto],
    feeds: Sequence[Feeds],
    steering: Mapping[str, int],
    folder: Path,
) -> list[LayerPair]:
    if not is_compressed(protos[-1]):
        raise click.UsageError(f"{paths[-1]} has no HasteConv: nothing to compare layer by layer")
    # With their weights, also those in files beside them.
    loaded = [onnx.load(str(path)) for path in paths]
    for tensor in loaded[-1].graph.initializer:
        if tensor.name in steering:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(steering[tensor.name], np.int64), tensor.name))
    stock = loaded[0] if len(loaded) == 2 and not is_compressed(loaded[0]) else None
    return cut_layers(stock, loaded[-1], (feeds[0], feeds[-1]), _library(), folder)


def _show_hardware(
    jobs: Sequence[tuple[str, Job]], runs: int, threads: int, cpus: str | None, show: bool
) -> dict[str, Any]:
    runner, library, runtime = find_runner(), _library(), _own_runtime()
    commands = [
        [str(runner), str(job.model), "--onnxruntime", runtime, "--threads", str(threads), *job.options]
        + (["--library", library] if job.native else ["--no-library"])
        for _, job in jobs
    ]
    try:
        pinned = {int(part) for part in cpus.split(",")} if cpus else None
    except ValueError:
        raise click.BadParameter(f"{cpus!r} is no list of processors such as 0,1", param_hint="--cpus") from None
    result = measure(commands, runs, pinned)
    if show:
        _print_hardware(jobs, result)
    return {
        "level": result.source.level.value,
        "counter": result.source.meaning,
        "copy_factor": result.calibration.copy_factor,
        "models": [
            {"model": name, "warm_bytes": m.warm.median, "warm_iqr": m.warm.spread, "cold_bytes": m.cold.median,
             "cold_iqr": m.cold.spread}
            for (name, _), m in zip(jobs, result.models, strict=True)
        ],
    }  # fmt: skip


def _print_hardware(jobs: Sequence[tuple[str, Job]], result: HardwareResult) -> None:
    console = make_console()
    console.print(f"[bold]{result.source.level.value}[/bold] {result.source.meaning}", highlight=False)
    console.print(
        f"calibrated: {result.calibration.reads.bytes_per_count:.1f} bytes per count, R² "
        f"{result.calibration.reads.r_squared:.4f}; a copy of B bytes counts {result.calibration.copy_factor:.2f} B",
        highlight=False,
    )
    table = _table("model", "warm MiB", "spread", "cold MiB", "spread", "cold ÷ first")
    for (name, _), measured in zip(jobs, result.models, strict=True):
        first = result.models[0].cold.median
        table.add_row(
            name,
            _mib(measured.warm.median),
            _mib(measured.warm.spread),
            _mib(measured.cold.median),
            _mib(measured.cold.spread),
            f"{measured.cold.median / first:.2f}" if first else "-",
        )
    console.print(table)


def _show_models(jobs: Sequence[tuple[str, Job]], simulator: Simulator, shown: Core, show: bool) -> dict[str, Any]:
    cold = [simulator.simulate(job, shown, cold=True) for _, job in jobs]
    warm = [simulator.simulate(job, shown, cold=False) for _, job in jobs]
    if show:
        console = make_console()
        console.print(_heading(simulator, shown), highlight=False)
        table = _table("model", "cold MiB", "÷ first", "warm MiB", "÷ first", "instructions", "÷ first")
        for (name, _), c, w in zip(jobs, cold, warm, strict=True):
            table.add_row(
                name,
                _mib(c.total),
                _ratio(c.total, cold[0].total),
                _mib(w.read_bytes + w.written_bytes),
                _ratio(w.read_bytes + w.written_bytes, warm[0].read_bytes + warm[0].written_bytes),
                f"{w.instructions / 1e6:.1f} M",
                _ratio(w.instructions, warm[0].instructions),
            )
        console.print(table)
    models = [
        {"model": name, "cold": c.as_dict(), "warm": w.as_dict()}
        for (name, _), c, w in zip(jobs, cold, warm, strict=True)
    ]
    return {"level": "simulated", "core": shown.name, "simulator": simulator.name, "models": models}


def _show_layers(pairs: Sequence[LayerPair], simulator: Simulator, shown: Core, show: bool) -> dict[str, Any]:
    rows: list[tuple[LayerPair, Traffic | None, Traffic]] = []
    for pair in pairs:
        original = simulator.simulate(pair.stock, shown, cold=True) if pair.stock else None
        rows.append((pair, original, simulator.simulate(pair.haste, shown, cold=True)))
    compared = [(original, ours) for _, original, ours in rows if original]
    if show:
        console = make_console()
        console.print(_heading(simulator, shown) + "; every layer alone, cold", highlight=False)
        table = _table("layer", "shape", "stock MiB", "haste MiB", "bytes ÷ stock", "instructions ÷ stock")
        for pair, original, ours in rows:
            table.add_row(
                pair.name,
                _shape_text(pair),
                _mib(original.total) if original else "-",
                _mib(ours.total),
                _ratio(ours.total, original.total) if original else "-",
                _ratio(ours.instructions, original.instructions) if original else "-",
            )
        if compared:
            stock_sum, sum_ours = sum(a.total for a, _ in compared), sum(b.total for _, b in compared)
            stock_work, work = sum(a.instructions for a, _ in compared), sum(b.instructions for _, b in compared)
            table.add_section()
            table.add_row(
                "all", "", _mib(stock_sum), _mib(sum_ours), _ratio(sum_ours, stock_sum), _ratio(work, stock_work)
            )
        console.print(table)
    layers = [
        {"layer": pair.name, "stock": original.as_dict() if original else None, "haste": ours.as_dict()}
        for pair, original, ours in rows
    ]
    return {"level": "simulated", "core": shown.name, "simulator": simulator.name, "layers": layers}


def _show_analytic(pairs: Sequence[LayerPair], shown: Core, show: bool) -> dict[str, Any]:
    rows = [(pair, analytic.stock(pair.shape, shown), analytic.haste(pair.shape, shown)) for pair in pairs]
    if show:
        console = make_console()
        console.print(f"[bold]analytic[/bold] caches of {shown.name} ({shown.board}); cold", highlight=False)
        table = _table("layer", "shape", "stock MiB", "haste MiB", "÷ stock", "of it weights", "schedule")
        for pair, original, ours in rows:
            table.add_row(
                pair.name,
                _shape_text(pair),
                _mib(original.total),
                _mib(ours.total),
                _ratio(ours.total, original.total),
                _mib(ours.weights),
                analytic.passes(pair.shape, shown),
            )
        console.print(table)
    layers = [
        {
            "layer": pair.name,
            "stock_bytes": original.total,
            "haste_bytes": ours.total,
            "haste_weight_bytes": ours.weights,
        }
        for pair, original, ours in rows
    ]
    return {"level": "analytic", "core": shown.name, "layers": layers}


def _heading(simulator: Simulator, shown: Core) -> str:
    return f"[bold]simulated[/bold] {simulator.name}; caches of {shown.name} ({shown.board})"


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _shape_text(pair: LayerPair) -> str:
    s = pair.shape
    return f"{s.channels}→{s.filters} {s.kernel[0]}×{s.kernel[1]} @{s.output[0]}×{s.output[1]}"


def _mib(size: float) -> str:
    return f"{size / 2**20:.2f}"


def _ratio(value: float, first: float) -> str:
    return f"{value / first:.2f}" if first else "-"
