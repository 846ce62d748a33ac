"""`haste-export model.onnx [out.onnx]`."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from haste_export.cli.export_summary import print_report
from haste_export.cli.parameters import ModelPath, patch_option
from haste_export.cli.support import CONTEXT, HasteCommand, json_option, make_console, write_json
from haste_export.contract import MAX_HYPERPLANES, MERGES
from haste_export.errors import CheckFailedError, OptionError
from haste_export.interrupts import held_back
from haste_export.options import ISAS, WEIGHTS
from haste_export.replace import same_file
from haste_export.report import Report
from haste_export.version import __version__

if TYPE_CHECKING:
    from haste_export.check import Feeds

_EPILOG = """
\b
Examples:
  haste-export model.onnx                          writes model.haste.onnx and model.haste.json
  haste-export model.onnx small.onnx --check 3     and compares both on three random inputs
  haste-export model.onnx --hyperplanes 20         closer to the original, and slower
  haste-export model.onnx --only-faster            times every layer here, rewrites those that gain
  haste-export model.onnx --exclude re:head --input-shape image:1,3,224,224
  haste-export model.onnx --weights fp16           weights in half the bytes, rounded to float16
  haste-export big.onnx --external-data --json -   the report on stdout

\b
Exit codes: 0 done (also when there was nothing to rewrite); 1 the check failed; 2 usage or unreadable input;
3 the environment lacks something; 130 interrupted.
"""


@click.command("haste-export", cls=HasteCommand, epilog=_EPILOG, context_settings=CONTEXT)
@click.argument("model", type=ModelPath())
@click.argument("output", type=click.Path(path_type=Path), required=False)
@click.option("--hyperplanes", type=int, default=14, show_default=True, help="L, the default of the steering input.")
@click.option("--max-hyperplanes", type=int, default=MAX_HYPERPLANES, show_default=True, help="Largest L to store.")
@click.option("--sparsity", type=float, default=0.5, show_default=True, help="Share of zeros in the hyperplanes.")
@click.option("--merge", type=click.Choice(MERGES), default="scaled", show_default=True)
@click.option(
    "--tau", type=float, default=0.0, show_default=True, help="Error bound of the merge, not for mean; 0: none."
)
@patch_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the hyperplanes.")
@click.option("--skip-first", type=int, default=1, show_default=True, help="Convolutions at the front that stay.")
@click.option("--include", multiple=True, metavar="NAME|re:…", help="Rewrite only layers that match; repeatable.")
@click.option("--exclude", multiple=True, metavar="NAME|re:…", help="Leave layers that match; repeatable.")
@click.option(
    "--input-shape", multiple=True, metavar="NAME:1,3,224,224",
    help="Fix the shape of an input, in the written model too; repeatable.",
)  # fmt: skip
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Per-layer settings, as `haste tune` writes."
)
@click.option(
    "--layout", type=click.Choice(["blocked", "nchw"]), default="blocked", show_default=True,
    help="Memory layout between HasteConvs.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Choice(WEIGHTS), default="packed", show_default=True,
    help="Form of the weights in the file; fp16: packed and rounded to float16, half as large.",
)  # fmt: skip
@click.option(
    "--select", type=click.Choice(["model", "measured", "all"]), default="model", show_default=True,
    help="Rewrite layers predicted to gain, those measured to gain here, or all that qualify.",
)  # fmt: skip
@click.option("--only-faster", is_flag=True, help="The same as --select measured.")
@click.option(
    "--isa", type=click.Choice(ISAS), default="auto", show_default=True,
    help="Instruction set to predict for; auto: this machine's.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads to measure with.")
@click.option("--npy", type=click.Path(path_type=Path), help="Measure on this .npy or .npz; random input otherwise.")
@click.option("--stats", is_flag=True, help="Give out statistics of every layer too; haste-run shows them.")
@click.option("--external-data", is_flag=True, help="Write the weights to OUTPUT.data, 4096-byte aligned.")
@click.option("--check", "check_runs", type=click.IntRange(0), default=0, metavar="N", help="Compare on N inputs.")
@click.option(
    "--check-input", type=click.Path(path_type=Path), metavar="FILE", help="Compare on this .npz or .npy instead."
)
@json_option
@click.option("-v", "--verbose", count=True, help="Name every layer; twice for a log of the passes.")
@click.version_option(__version__, prog_name="haste-export")
def command(
    model: Path,
    output: Path | None,
    input_shape: tuple[str, ...],
    plan_file: Path | None,
    external_data: bool,
    check_runs: int,
    check_input: Path | None,
    only_faster: bool,
    threads: int,
    npy: Path | None,
    json_file: str | None,
    verbose: int,
    **options: Any,
) -> None:
    """Compress the convolutions of MODEL.

    Rewrites each Conv that qualifies into HasteConv and writes the result to OUTPUT (MODEL with the ending .haste.onnx
    if omitted), with a report beside it. The result runs exactly like the original where the op library is not.
    """
    # Imported here, so that --help answers at once.
    with held_back():  # libraries take an import that is cut off for a module that they can do without
        from haste_export.bench.inputs import input_names, parse_shapes
        from haste_export.check import load_feeds, random_inputs
        from haste_export.cli.environment import check_isa
        from haste_export.compiler import compress_with_report
        from haste_export.plan import Plan
        from haste_export.plan_file import PlanFile, read_plan
        from haste_export.proto import read_proto
        from haste_export.speed.timing import Timing

    logging.basicConfig(level=logging.INFO if verbose > 1 else logging.WARNING, format="%(name)s: %(message)s")
    stored = read_plan(plan_file) if plan_file is not None else PlanFile(Plan())
    options.update(_not_on_the_command_line(stored.export_options))
    plan = replace(stored.plan, patches={}) if _is_given("patch") else stored.plan
    if check_input is not None or check_runs:
        _refuse_overwriting(model, output)
    if check_input is not None or check_runs or only_faster or options["select"] == "measured":
        check_isa()
    _refuse_collisions(model, output, json_file, external_data, [plan_file, check_input, npy])
    input_shapes = parse_shapes(input_shape, input_names(read_proto(model))) if input_shape else {}
    feeds = load_feeds(check_input, model) if check_input is not None else None
    if check_runs and feeds is None:
        random_inputs(model, input_shapes)  # refuses what cannot be made up before anything is written
    options["select"] = _selection(options["select"], only_faster, npy)
    with _measuring(options["select"]) as progress:
        timing = Timing(threads, npy, progress=progress)
        target, report = compress_with_report(
            model,
            output,
            external_data=external_data,
            timing=timing,
            input_shapes=input_shapes,
            plan=plan,
            **options,
        )
    if check_runs or check_input is not None:
        _check(report, model, target, check_runs, feeds, input_shapes)
    write_json(report.to_json(), json_file)
    if json_file != "-":
        print_report(report, make_console(), verbose)
    if report.check is not None and not report.check["passed"]:
        raise CheckFailedError(
            f"dense mode differs from the original by {report.check['dense_error']:.2e}, "
            f"more than {report.check['tolerance']:.1e}"
        )


@contextmanager
def _measuring(select: str) -> Iterator[Callable[[str, int], None]]:
    """A bar that is called with what is measured next, and with how many measurements are left."""
    hidden = select != "measured" or not sys.stderr.isatty()
    with Progress(console=Console(stderr=True), transient=True, disable=hidden) as bar:
        task, done = bar.add_task("measuring", total=None), itertools.count()

        def show(what: str, left: int) -> None:
            number = next(done)
            bar.update(task, description=escape(what), completed=number, total=number + left)

        yield show


def _selection(select: str, only_faster: bool, npy: Path | None) -> str:
    """The selection that was asked for. Raises click.UsageError for options that contradict each other."""
    if only_faster and select != "measured" and _is_given("select"):
        raise click.UsageError(f"--only-faster and --select {select} exclude each other")
    chosen = "measured" if only_faster else select
    if chosen != "measured" and (npy is not None or _is_given("threads")):
        raise click.UsageError("--npy and --threads say how to measure: they need --only-faster")
    return chosen


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def _not_on_the_command_line(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of a plan file that the user did not give, who has the last word."""
    return {name: value for name, value in options.items() if not _is_given(name)}


def _check(
    report: Report, model: Path, target: Path, runs: int, feeds: Feeds | None, shapes: dict[str, tuple[int, ...]]
) -> None:
    """Fill in `report.check` and write the report anew."""
    from haste_export.check import DENSE_TOLERANCE, HALF_TOLERANCE, check_models
    from haste_export.io import write_report

    # The file behind a link, because its weights are beside it.
    tolerance = HALF_TOLERANCE if report.options.weights == "fp16" else DENSE_TOLERANCE
    check = check_models(model, target.resolve(), runs, feeds=feeds, shapes=shapes, tolerance=tolerance)
    report.check = check.to_json()
    write_report(report, target)


def _refuse_overwriting(model: Path, output: Path | None) -> None:
    if output is not None and output.resolve() == model.resolve():
        raise OptionError("--check needs the original; write to another file")


def _refuse_collisions(
    model: Path, output: Path | None, json_file: str | None, external_data: bool, read: Sequence[Path | None]
) -> None:
    """Raise OptionError if a file that the command writes is one that it reads, or --json is the model it writes."""
    from haste_export.io import data_path, default_target, refuse_overwriting, report_path

    target = output or default_target(model)
    inputs = [path for path in read if path is not None]
    written = [target, report_path(target), *([data_path(target)] if external_data else [])]
    refuse_overwriting(written, inputs)
    if json_file not in (None, "-"):
        refuse_overwriting([Path(str(json_file))], [model, *inputs])
        if any(same_file(Path(str(json_file)), path) for path in (target, data_path(target))):
            raise OptionError(f"--json {json_file} would overwrite the model; choose another file")


if __name__ == "__main__":
    command()
