"""Writes the sweeps: Markdown, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from tools.scaling.layer import BASE
from tools.scaling.measure import Result

TITLES = {
    "side": "height and width",
    "channels": "input channels C",
    "filters": "output channels M",
    "hyperplanes": "hyperplanes L",
    "batch": "batch N",
    "threads": "threads",
}
_COLUMNS = ("stock ms", "quartiles", "ours ms", "quartiles", "× stock", "r", "turns")
_COLUMNS_OF_PICTURE = 3
Sweeps = Mapping[str, Sequence[Result]]


def write(folder: Path, header: Mapping[str, str], sweeps: Sweeps) -> list[Path]:
    """Write scaling.md, scaling.json and scaling.png, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    page, data, picture = (folder / f"scaling.{suffix}" for suffix in ("md", "json", "png"))
    page.write_text(markdown(header, sweeps), encoding="utf-8")
    rows = {name: [asdict(result) for result in results] for name, results in sweeps.items()}
    content = {"header": dict(header), "base": asdict(BASE), "sweeps": rows}
    data.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(picture, sweeps)
    return [page, data, picture]


def markdown(header: Mapping[str, str], sweeps: Sweeps) -> str:
    """Return the page: one table per quantity."""
    lines = [
        "# How the cost of a convolution grows",
        "",
        *(f"* **{key}**: {value}" for key, value in header.items()),
        "",
    ]
    lines += ["One 3×3 convolution with Relu, NCHW in and out. Unless a table says otherwise:", f"{_describe_base()}."]
    for name, results in sweeps.items():
        lines += ["", f"## {TITLES[name][0].upper()}{TITLES[name][1:]}", "", _line([TITLES[name], *_COLUMNS])]
        lines += [_line(["---:"] * (len(_COLUMNS) + 1)), *(_line(_cells(name, result)) for result in results)]
    return "\n".join(lines) + "\n"


def _describe_base() -> str:
    return ", ".join(f"{TITLES[name]} {value}" for name, value in asdict(BASE).items())


def _cells(name: str, result: Result) -> list[str]:
    cells = [str(getattr(result.layer, name))]
    for timing in (result.stock, result.ours):
        cells += [f"{timing.median:.3g}", f"{timing.first_quartile:.3g}-{timing.third_quartile:.3g}"]
    return [*cells, f"{result.stock.median / result.ours.median:.2f}", f"{result.compression:.2f}", str(result.turns)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def draw(path: Path, sweeps: Sweeps) -> None:
    """Write a PNG with one panel per quantity: milliseconds of stock and ours."""
    rows = -(-len(sweeps) // _COLUMNS_OF_PICTURE)
    figure, panels = pyplot.subplots(
        rows, _COLUMNS_OF_PICTURE, figsize=(12, 3.6 * rows), squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(sweeps) :]:
        panel.remove()
    for panel, (name, results) in zip(panels.flat, sweeps.items(), strict=False):
        _panel(panel, name, results)
    panels.flat[0].legend()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(axes: Axes, name: str, results: Sequence[Result]) -> None:
    values = [getattr(result.layer, name) for result in results]
    for label, timings in (("stock", [r.stock for r in results]), ("ours", [r.ours for r in results])):
        below = [timing.median - timing.first_quartile for timing in timings]
        above = [timing.third_quartile - timing.median for timing in timings]
        axes.errorbar(values, [t.median for t in timings], yerr=[below, above], fmt="o-", label=label, capsize=2)
    if name in ("hyperplanes", "threads"):  # few octaves, and L begins at zero
        axes.set_ylim(bottom=0)
    else:
        axes.set(xscale="log", yscale="log")
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()
    axes.set(xlabel=TITLES[name], ylabel="ms")
    axes.grid(visible=True, alpha=0.3)
