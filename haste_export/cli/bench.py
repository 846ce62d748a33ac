"""`haste bench`: how long a model takes, against another one or against its own exact form."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import onnx
import onnxruntime
from rich.box import SIMPLE
from rich.table import Table

from haste_export.bench.inputs import (
    Feeds,
    InputValueError,
    array_feeds,
    image_feeds,
    input_names,
    model_inputs,
    parse_shapes,
    random_feeds,
    resolve_shape,
)
from haste_export.bench.machine import machine
from haste_export.bench.plan import Row, Setting, run_plan
from haste_export.bench.worker import Candidate
from haste_export.cli.environment import check_isa
from haste_export.cli.parameters import not_negative, numbers
from haste_export.cli.support import CONTEXT, GateError, HasteCommand, json_option, make_console, write_json
from haste_export.errors import MissingDependencyError
from haste_export.proto import is_compressed, read_model
from runtime_ops import LibraryNotFoundError, library_path
from runtime_ops.library import CUDA_PROVIDER

RANDOM_INPUT = "random values"
LETTERS = "AB"
_THREADS_PER_CORE = 4

HELP = """Time a model in ONNX Runtime.

Two models are compared with each other, the first being the baseline. One compressed model is compared with itself
without the library, which is the exact convolution in stock ONNX Runtime. One plain model is timed alone.

Both run with all of ONNX Runtime's optimisations, in turns (A B A B ...), each in a process of its own. The table shows
medians and quartiles, and which implementation ran.

\b
Examples:
  haste bench model.haste.onnx --image photo.jpg
  haste bench model.onnx model.haste.onnx --threads 1,2 --hyperplanes 10,14,20
  haste bench model.onnx model.haste.onnx --npy batch.npy --assert-speedup 1.2
  haste bench model.onnx model.haste.onnx --image photo.jpg --cuda
"""


@click.command(cls=HasteCommand, help=HELP, context_settings=CONTEXT)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path), required=False)
@click.option("--threads", callback=numbers(1), default="1", show_default=True, help="Intra-op threads, a list.")
@click.option("--runs", type=click.IntRange(1), default=30, show_default=True, help="Timed runs per row.")
@click.option("--warm-up", type=click.IntRange(0), default=3, show_default=True, help="Runs before the timed ones.")
@click.option("--hyperplanes", callback=numbers(0), help="Values of L to steer to, a list; 0 is dense.")
@click.option("--level", callback=numbers(0), help="Tuned levels to steer to, a list; 0 is dense.")
@click.option("--batch", type=click.IntRange(1), help="Batch size, where the model leaves it open.")
@click.option("--input-shape", multiple=True, metavar="NAME:1,3,224,224", help="Shape of an input.")
@click.option("--image", type=click.Path(path_type=Path), help="Feed this photograph, resized, scaled to 0..1.")
@click.option("--npy", type=click.Path(path_type=Path), help="Feed the array of a .npy, or those of a .npz file.")
@click.option("--cuda", is_flag=True, help="On ONNX Runtime's CUDA provider, copies of inputs and outputs included.")
@click.option(
    "--assert-speedup",
    type=float,
    callback=not_negative,
    metavar="X",
    help="Exit with 1 if a row's speed-up is below X.",
)
@json_option
def command(
    model: Path,
    other: Path | None,
    threads: list[int],
    runs: int,
    warm_up: int,
    hyperplanes: list[int] | None,
    level: list[int] | None,
    batch: int | None,
    input_shape: tuple[str, ...],
    image: Path | None,
    npy: Path | None,
    cuda: bool,
    assert_speedup: float | None,
    json_file: str | None,
) -> None:
    """Time one or two models."""
    if image is not None and npy is not None:
        raise click.UsageError("--image and --npy exclude each other")
    _check_threads(threads)
    if hyperplanes and level:
        raise click.UsageError("--hyperplanes and --level exclude each other")
    protos = [read_model(path) for path in (model, other) if path is not None]
    candidates = choose_candidates([path for path in (model, other) if path is not None], protos, cuda)
    if assert_speedup is not None and len(candidates) == 1:
        raise click.UsageError("--assert-speedup needs two models, or one that is compressed")
    first = make_feeds(protos[0], input_shape, batch, image, npy)
    feeds = [rename_feeds(first, protos[min(index, len(protos) - 1)]) for index in range(len(candidates))]
    rows = run_plan(candidates, feeds, threads, settings(hyperplanes, level), runs, warm_up, _progress)
    source = str(image or npy or RANDOM_INPUT)
    provider = "CUDA" if cuda else "CPU"
    if json_file != "-":
        print_rows(rows, source, provider)
    report = {"machine": machine(), "provider": provider, "input": source, "rows": [row.as_dict() for row in rows]}
    write_json(report, json_file)
    check_speedup(rows, assert_speedup)


def _check_threads(threads: Sequence[int]) -> None:
    """Raise click.UsageError for more threads than can tell anything about this machine."""
    most = _THREADS_PER_CORE * (os.cpu_count() or 1)
    if max(threads) > most:
        raise click.UsageError(f"--threads {max(threads)}: at most {most} are timed here, {_THREADS_PER_CORE} per core")


def choose_candidates(paths: Sequence[Path], protos: Sequence[onnx.ModelProto], cuda: bool = False) -> list[Candidate]:
    """Pair each model with the library if it needs one; a compressed model alone is compared with its fallback.

    Raises:
        MissingDependencyError: a model is compressed, and the op library was not found, or lacks what HASTE_ISA names;
            or `cuda`, and ONNX Runtime has no CUDA provider.
    """
    if cuda and CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise MissingDependencyError(f"this ONNX Runtime has no {CUDA_PROVIDER}: install onnxruntime-gpu in its place")
    library = None
    if any(is_compressed(proto) for proto in protos):
        check_isa()
        try:
            library = library_path(cuda)
        except LibraryNotFoundError as error:
            raise MissingDependencyError(f"{error}\n`haste doctor` tells more.") from error
    candidates = [
        Candidate(str(path), str(path), library if is_compressed(proto) else None, cuda)
        for path, proto in zip(paths, protos, strict=True)
    ]
    if len(candidates) == 1 and library is not None:
        candidates.insert(0, Candidate(f"{paths[0]} without the library", str(paths[0]), None, cuda))
    return candidates


def make_feeds(
    model: onnx.ModelProto, shapes: Sequence[str], batch: int | None, image: Path | None, npy: Path | None
) -> Feeds:
    """Choose input values by the options.

    Raises:
        InputValueError: they do not fit the model.
    """
    inputs = model_inputs(model)
    if npy is not None:
        return array_feeds(npy, inputs)
    given = parse_shapes(shapes, input_names(model))
    resolved = {entry.name: resolve_shape(entry, given, batch) for entry in inputs}
    return image_feeds(image, inputs, resolved) if image is not None else random_feeds(inputs, resolved)


def rename_feeds(feeds: Feeds, model: onnx.ModelProto) -> Feeds:
    """Fit values to another model's input names: by name, or by position when they are as many.

    Raises:
        InputValueError: the models take different inputs.
    """
    names = [entry.name for entry in model_inputs(model)]
    if set(names) == set(feeds):
        return feeds
    if len(names) != len(feeds):
        raise InputValueError(f"the models take different inputs: {', '.join(feeds)} and {', '.join(names)}")
    return dict(zip(names, feeds.values(), strict=True))


def settings(hyperplanes: list[int] | None, level: list[int] | None) -> list[Setting]:
    """Settings to time, in the order given."""
    if hyperplanes:
        return [Setting(hyperplanes=value) for value in hyperplanes]
    return [Setting(level=value) for value in level] if level else [Setting()]


def print_rows(rows: Sequence[Row], source: str, provider: str) -> None:
    """Print the table, and what keeps a reader from over-reading it."""
    console = make_console()
    labels = dict(sorted({row.position: row.label for row in rows}.items()))
    about = machine()
    where = f"ONNX Runtime {about['onnxruntime']} on {provider}"
    console.print(f"{about['processor']}, {where}, input: {source}", highlight=False)
    for position, label in labels.items():
        console.print(f"{LETTERS[position]}  {label}", highlight=False, markup=False)
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("threads", "L", "", "ran"):
        table.add_column(heading, no_wrap=True)
    for heading in ("median ms", "quartiles", "speed-up (of turns)", "rel. error"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    if source == RANDOM_INPUT and any(row.timing.native_calls for row in rows):
        console.print("Compression, and so the time, depends on the input: use --image or --npy for real values.")


def check_speedup(rows: Sequence[Row], least: float | None) -> None:
    """Raise GateError when a row's speed-up is below `least`."""
    if least is None:
        return
    below = [row for row in rows if row.speedup is not None and row.speedup[0] < least]
    if below:
        worst = min(below, key=lambda row: row.speedup[0] if row.speedup else 0.0)
        gain = worst.speedup[0] if worst.speedup else 0.0
        raise GateError(f"speed-up {gain:.3f} ({worst.threads} threads, {worst.setting}) is below {least:g}")


def _cells(row: Row) -> list[str]:
    low, high = row.timing.quartiles
    gain = ""
    if row.speedup is not None:
        gain = f"{row.speedup[0]:.2f} ({row.speedup[1]:.2f}-{row.speedup[2]:.2f})"
    error = "" if row.relative_error is None else f"{row.relative_error:.3g}"
    return [
        str(row.threads),
        str(row.setting),
        LETTERS[row.position],
        row.executed,
        f"{row.timing.median:.2f}",
        f"{low:.2f}-{high:.2f}",
        gain,
        error,
    ]


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(text, err=True)
