"""`haste inspect`: what haste-export would do with a model, or what it did with a compressed one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from haste_export.bench.inputs import input_names, parse_shapes
from haste_export.cli.support import CONTEXT, HasteCommand, json_option, make_console, write_json
from haste_export.contract import MERGES, Merge
from haste_export.defects import blame
from haste_export.inspection import CompressedModel, Prospect, describe_compressed, is_compressed, prospects
from haste_export.io import load_model
from haste_export.options import Options
from haste_export.proto import read_model

HELP = """Show what haste-export would do with a model, without writing anything; or what a compressed model holds.

Of a plain model: every convolution, its sizes and FLOPs, and whether and why it would be rewritten. "break-even" is the
compression r (1 - buckets / channels) from which on HasteConv costs fewer FLOPs than Conv. Of a compressed model: its
layers, their hyperplanes (by level, if it was tuned) and layouts, and its steering inputs.

\b
Examples:
  haste inspect model.onnx
  haste inspect model.onnx --input-shape image:1,3,224,224 --exclude re:head
  haste inspect model.haste.onnx --json -
"""


@click.command(cls=HasteCommand, help=HELP, context_settings=CONTEXT)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--hyperplanes",
    type=int,
    default=14,
    show_default=True,
    help="L, for what is predicted and the break-even compression.",
)
@click.option(
    "--merge",
    type=click.Choice(MERGES),
    default="scaled",
    show_default=True,
    help="How channels are merged.",
)
@click.option(
    "--select",
    type=click.Choice(["model", "all"]),
    default="model",
    show_default=True,
    help="Layers that the cost model predicts to gain, or all that qualify.",
)
@click.option("--skip-first", type=int, default=1, show_default=True, help="Convolutions at the front to leave alone.")
@click.option("--include", multiple=True, metavar="NAME|re:PATTERN", help="Rewrite only layers that match.")
@click.option("--exclude", multiple=True, metavar="NAME|re:PATTERN", help="Leave layers alone that match.")
@click.option(
    "--input-shape", multiple=True, metavar="NAME:1,3,224,224", help="Shape of an input with open dimensions."
)
@json_option
def command(
    model: Path,
    hyperplanes: int,
    merge: Merge,
    select: Literal["model", "all"],
    skip_first: int,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    input_shape: tuple[str, ...],
    json_file: str | None,
) -> None:
    """Look into one model."""
    loaded = load_model(model)
    if is_compressed(loaded):
        found = describe_compressed(loaded)
        if json_file != "-":
            print_compressed(found)
        write_json({"model": str(model), "compressed": True, **found.as_dict()}, json_file)
        return
    shapes = parse_shapes(input_shape, input_names(read_model(model))) if input_shape else {}
    options = Options(
        hyperplanes=hyperplanes,
        merge=merge,
        select=select,
        skip_first=skip_first,
        include=include,
        exclude=exclude,
        input_shapes=shapes,
    )
    with blame(model):
        layers, _ = prospects(loaded, options)
    if json_file != "-":
        print_prospects(layers)
    write_json({"model": str(model), "compressed": False, **_prospects_json(layers, options)}, json_file)


def print_prospects(layers: Sequence[Prospect]) -> None:
    """Print one row per convolution, and the sums."""
    console = make_console()
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("convolution", "what would happen"):
        table.add_column(heading, overflow="fold")
    for heading in ("C", "M", "kernel", "H×W", "p", "MFLOPs", "break-even r"):
        table.add_column(heading, justify="right", no_wrap=True)
    for prospect in layers:
        layer = prospect.layer
        rewritten = layer.status == "rewritten"
        fate = Text("rewritten", style="green") if rewritten else Text(f"left: {layer.reason}", style="dim")
        table.add_row(
            Text(layer.name),
            fate,
            _number(layer.in_channels),
            _number(layer.out_channels),
            "×".join(map(str, layer.kernel)),
            f"{_number(layer.height)}×{_number(layer.width)}",
            "" if layer.patch is None else str(layer.patch),
            "?" if prospect.flops is None else f"{prospect.flops / 1e6:.1f}",
            _break_even_text(prospect),
        )
    console.print(table)
    _print_sums(console, layers)


def print_compressed(model: CompressedModel) -> None:
    """Print one row per HasteConv, and the steering inputs."""
    console = make_console()
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("HasteConv", "merge", "fused"):
        table.add_column(heading, overflow="fold")
    for heading in ("C", "M", "kernel", "H×W", "p", "L", "of", "weights", "layout"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in model.layers:
        fused = [layer.activation] if layer.activation else []
        fused += ["residual"] if layer.residual else []
        table.add_row(
            Text(layer.name),
            f"{layer.merge}, bounded" if layer.bounded else layer.merge,
            " + ".join(fused),
            _number(layer.in_channels),
            _number(layer.out_channels),
            "×".join(map(str, layer.kernel)),
            f"{_number(layer.height)}×{_number(layer.width)}",
            str(layer.patch),
            " ".join(map(str, layer.levels)),
            _number(layer.max_hyperplanes),
            f"{layer.weights} {layer.weight_type}" if layer.weight_type else layer.weights,
            f"{layer.input_layout} → {layer.output_layout}",
        )
    console.print(table)
    console.print(f"{len(model.layers)} HasteConv, {len(model.plain_convolutions)} Conv", highlight=False)
    for name, default in model.steering.items():
        console.print(f"steering input {name}, default {default:g}", highlight=False)
    for key, text in model.metadata.items():
        console.print(f"{key}: {text}", highlight=False, markup=False)
    if not model.fallback:
        console.print("no local function for HasteConv: the model does not run without the library")


def _print_sums(console: Console, layers: Sequence[Prospect]) -> None:
    rewritten = [prospect for prospect in layers if prospect.layer.status == "rewritten"]
    line = f"{len(rewritten)} of {len(layers)} convolutions would be rewritten"
    total = sum(prospect.flops or 0.0 for prospect in layers)
    if total:
        share = sum(prospect.flops or 0.0 for prospect in rewritten) / total
        line += f", {share:.1%} of {total / 1e9:.2f} GFLOPs"
    more = sum(prospect.qualifies for prospect in layers) - len(rewritten)
    if more:
        line += f"; {more} more qualify and are not predicted to gain (--select all)"
    if any(prospect.flops is None for prospect in layers):
        line += " (sizes marked ? are not static: --input-shape fixes them)"
    console.print(line, highlight=False)


def _break_even_text(prospect: Prospect) -> str:
    if prospect.break_even is None:
        return ""
    return f"{prospect.break_even:.1%}" if prospect.break_even < 1 else "never"


def _prospects_json(layers: Sequence[Prospect], options: Options) -> dict[str, Any]:
    rows = []
    for prospect in layers:
        even = prospect.break_even
        known = {"qualifies": prospect.qualifies, "break_even": even if even is not None and even < 1 else None}
        rows.append({**prospect.layer.to_json(), **known})
    return {"options": options.to_json(), "layers": rows}


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
