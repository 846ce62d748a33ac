"""The command line of the sweeps; runs inside the environment of the side-by-side benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import onnxruntime

import haste_export
import runtime_ops
from tools.engines import machine
from tools.engines.models import ModelError
from tools.scaling import report
from tools.scaling.activations import Activations
from tools.scaling.layer import sweeps
from tools.scaling.measure import NotNativeError, Result, measure

SCRIPT = "tools/scaling/run.py"


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), default=Path("scaling-results"), help="Folder for the results.")
@click.option("--seconds", type=click.FloatRange(min=0), default=2.0, help="Time to measure per point.")
@click.option("--only", multiple=True, type=click.Choice(list(report.TITLES)), help="These sweeps; all by default.")
def main(out: Path, seconds: float, only: tuple[str, ...]) -> None:
    """Time one 3×3 convolution, stock and ours, against its size, channels, hyperplanes, batch and threads.

    Writes scaling.md, scaling.json and scaling.png.
    """
    chosen = {name: layers for name, layers in sweeps().items() if not only or name in only}
    before = machine.busy_cores()
    machine.warn_if_busy(before)
    results: dict[str, list[Result]] = {}
    try:
        activations = Activations(max(layer.batch for layers in chosen.values() for layer in layers))
        for name, layers in chosen.items():
            print(name, file=sys.stderr, flush=True)
            results[name] = [measure(layer, activations.input_of(layer), seconds) for layer in layers]
    except (runtime_ops.LibraryNotFoundError, NotNativeError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(3)
    versions = f"haste-export {haste_export.__version__}, {runtime_ops.isa()}; onnxruntime {onnxruntime.__version__}"
    busy = f"{before:.2f} before measuring, {machine.busy_cores():.2f} after"
    header = {**machine.describe(SCRIPT), "versions": versions, "cores kept busy by other programs": busy}
    for path in report.write(out, header, results):
        print(path)
