"""The command line of the side-by-side benchmark; runs inside the environment of the engines."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from tools.engines import adapters, machine, photographs, report
from tools.engines.adapters.base import Job
from tools.engines.coordinator import Worker, start_all
from tools.engines.interleave import Plan, Point, measure
from tools.engines.models import Model, ModelError, prepare
from tools.engines.report import Table
from tools.engines.results import Row, first_outputs, summarise
from tools.engines.worker import Ask, Sample

SCRIPT = "tools/engines/run.py"
ENGINES_HELP = "Which engines, or module:option of an adapter kept elsewhere; the baseline always runs, and first."


class _Integers(click.ParamType[tuple[int, ...]]):
    name = "N,N,..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers", param, ctx)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("model")
@click.option("--threads", type=_Integers(), default="1", help="Numbers of threads; one table each.")
@click.option("--hyperplanes", type=_Integers(), default="0,10,14,20,28", help="Points of ours; 0 is dense.")
@click.option(
    "--engines",
    default=",".join(adapters.NAMES),
    help=ENGINES_HELP,
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("engines-results"), help="Folder for the results.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=120.0,
    help="Time per number of threads, after the first rounds.",
)
@click.option("--min-rounds", type=click.IntRange(min=1), default=3, help="Rounds that even slow engines get.")
@click.option("--max-rounds", type=click.IntRange(min=1), default=60, help="Rounds at most.")
@click.option("--timeout", type=float, default=300.0, help="Seconds allowed for one conversion or one turn.")
@click.option("--input-shape", type=_Integers(), help="Shape of the input, for models that leave it open.")
@click.option("--preprocess", type=click.Choice(sorted(photographs.PREPROCESS)), help="What the model expects.")
@click.option(
    "--inputs", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="float32 .npy [n, *shape]."
)
def main(
    model: str,
    threads: tuple[int, ...],
    hyperplanes: tuple[int, ...],
    engines: str,
    out: Path,
    seconds: float,
    min_rounds: int,
    max_rounds: int,
    timeout: float,
    input_shape: tuple[int, ...] | None,
    preprocess: str | None,
    inputs: Path | None,
) -> None:
    """Measure MODEL (an .onnx file, vgg16 or nsfw) in every engine, one inference at a time in turns.

    Writes engines.md, engines.json and engines-THREADS.png. Exit code 1 if the baseline or ours could not be measured.
    """
    names = _chosen(engines)
    plan = Plan(seconds, min_rounds, max_rounds)
    with tempfile.TemporaryDirectory(prefix="engines-") as scratch:
        folder = Path(scratch)
        try:
            prepared = prepare(model, folder, input_shape)
            _write_inputs(folder, prepared, preprocess, inputs)
        except (ModelError, ValueError) as error:
            raise click.UsageError(str(error)) from error
        tables = [_table(names, _job(prepared, folder, count, hyperplanes), folder, plan, timeout) for count in threads]
    header = {**machine.describe(SCRIPT), **_versions(tables)}
    for path in report.write(out, f"{prepared.title}: engines side by side", header, tables):
        print(path)
    if any(row.failure and row.engine in (adapters.BASELINE, "haste") for table in tables for row in table.rows):
        sys.exit(1)


def _chosen(engines: str) -> list[str]:
    wanted = dict.fromkeys([adapters.BASELINE, *engines.split(",")])
    unknown = [name for name in wanted if name not in adapters.NAMES and ":" not in name]
    if unknown:
        raise click.BadParameter(f"no engine {', '.join(unknown)}; there are {', '.join(adapters.NAMES)}")
    return list(wanted)


def _write_inputs(folder: Path, model: Model, preprocess: str | None, inputs: Path | None) -> None:
    if inputs is None:
        kind = preprocess or model.preprocess
        measured = photographs.measured(model.input_shape, kind)
        calibration = photographs.calibration(model.input_shape, kind)
    else:
        # Half of them to calibrate with, the other half to measure with.
        given = np.load(inputs).astype(np.float32, copy=False)
        if given.ndim < 1 or len(given) < 2 or (1, *given.shape[1:]) != model.input_shape:
            raise ValueError(
                f"{inputs} holds {list(given.shape)}; expected at least two of {list(model.input_shape[1:])}"
            )
        calibration, measured = (np.ascontiguousarray(given[part::2, np.newaxis]) for part in (1, 0))
    np.save(folder / "inputs.npy", measured)
    np.save(folder / "calibration.npy", calibration)


def _job(model: Model, folder: Path, threads: int, hyperplanes: tuple[int, ...]) -> Job:
    calibration = folder / "calibration.npy"
    names = (model.input_name, model.input_shape, model.output_names)
    return Job(model.path, *names, calibration, folder, threads, hyperplanes)


def _table(names: Sequence[str], job: Job, folder: Path, plan: Plan, timeout: float) -> Table:
    print(f"{job.threads} thread(s)", file=sys.stderr)
    inputs = folder / "inputs.npy"
    workers, failures = start_all(names, job, inputs, folder, timeout)
    try:
        before = machine.busy_cores()
        machine.warn_if_busy(before)
        points = {worker.name: [_point(worker, label) for label in worker.labels] for worker in workers}
        print("  measuring", file=sys.stderr, flush=True)
        measure([point for found in points.values() for point in found], len(np.load(inputs, mmap_mode="r")), plan)
        after = machine.busy_cores()
    finally:
        for worker in workers:
            worker.close()
    return Table(job.threads, _rows(names, workers, points, failures), (before, after))


def _point(worker: Worker, label: str) -> Point:
    def run(index: int, warm_ups: int) -> Sample:
        return worker.ask(Ask(label, index, warm_ups))

    return Point(label, run)


def _rows(
    names: Sequence[str], workers: Sequence[Worker], points: dict[str, list[Point]], failures: dict[str, str]
) -> list[Row]:
    stock = points.get(adapters.BASELINE, [])
    if not stock or not stock[0].samples:
        reason = failures.get(adapters.BASELINE) or (stock[0].failure if stock else None) or "no run"
        raise click.ClickException(f"the baseline does not run this model: {reason}")
    reference, baseline = first_outputs(stock[0].samples), stock[0].seconds * 1e3
    by_name = {worker.name: worker for worker in workers}
    rows: list[Row] = []
    for name in names:
        if name in failures:
            rows.append(Row(name, name, failure=failures[name]))
            continue
        worker = by_name[name]
        about = (name, worker.version, worker.prepare_seconds)
        rows += [summarise(point, *about, reference, baseline) for point in points[name]]
    return rows


def _versions(tables: Sequence[Table]) -> dict[str, str]:
    versions = {row.version: None for table in tables for row in table.rows if row.version}
    return {"versions": "; ".join(versions)}
