"""``python -m tools.evidence TABLE MODEL --data test.npz``: one table, written to docs/results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from haste_export.cli.bench import numbers
from haste_export.cli.parameters import decimals
from haste_export.contract import MERGES


def options(function: Any) -> Any:
    """What all tables have in common."""
    for option in (
        click.option("--seeds", callback=numbers(0), default="0,1,2", show_default=True),
        click.option("--limit", type=click.IntRange(1), help="Use the first samples only."),
        click.option("--data", required=True),
        click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
    ):
        function = option(function)
    return function


def merge_option(function: Any) -> Any:
    """Which merge."""
    return click.option("--merge", type=click.Choice(MERGES), default="mean", show_default=True)(function)


@click.group()
def main() -> None:
    """Measure the tables of docs/accuracy.md."""


@main.command()
@options
@click.option("--hyperplanes", callback=numbers(1), default="8,10,12,14,20", show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
def hyperplanes(
    model: Path, data: str, limit: int | None, seeds: list[int], hyperplanes: list[int], sparsity: float
) -> None:
    """Accuracy and cost over L (the paper's Tables 4 and 5)."""
    from tools.evidence.measure import Measurement
    from tools.evidence.sweeps import hyperplane_table

    click.echo(hyperplane_table(Measurement(model, data, limit, seeds), hyperplanes, sparsity).write())


@main.command()
@options
@merge_option
@click.option("--hyperplanes", "count", type=int, default=12, show_default=True)
@click.option("--sparsities", callback=decimals(), default="0,0.33333,0.5,0.66667,0.8,0.9", show_default=True)
def sparsity(
    model: Path, data: str, limit: int | None, seeds: list[int], merge: Any, count: int, sparsities: tuple[float, ...]
) -> None:
    """Share of zeros in the hyperplanes (Table 7)."""
    from tools.evidence.measure import Measurement
    from tools.evidence.sweeps import sparsity_table

    click.echo(sparsity_table(Measurement(model, data, limit, seeds), count, sparsities, merge).write())


@main.command()
@options
@merge_option
@click.option("--hyperplanes", callback=numbers(1), default="10,14", show_default=True)
def first(model: Path, data: str, limit: int | None, seeds: list[int], merge: Any, hyperplanes: list[int]) -> None:
    """Layers left alone at the front."""
    from tools.evidence.measure import Measurement
    from tools.evidence.sweeps import first_table

    click.echo(first_table(Measurement(model, data, limit, seeds), hyperplanes, merge).write())


@main.command()
@options
@merge_option
@click.option("--hyperplanes", callback=numbers(1), default="10,14", show_default=True)
@click.option("--patches", callback=numbers(1), default="3,5,7", show_default=True)
def patch(
    model: Path, data: str, limit: int | None, seeds: list[int], merge: Any, hyperplanes: list[int], patches: list[int]
) -> None:
    """Patch size (Table 9)."""
    from tools.evidence.measure import Measurement
    from tools.evidence.sweeps import patch_table

    click.echo(patch_table(Measurement(model, data, limit, seeds), hyperplanes, patches, merge).write())


@main.command()
@options
@click.option("--hyperplanes", callback=numbers(1), default="10,14", show_default=True)
def grouping(model: Path, data: str, limit: int | None, seeds: list[int], hyperplanes: list[int]) -> None:
    """LSH against random groups of equal sizes (Table 6). Needs PyTorch."""
    from tools.evidence.emulation import Emulation
    from tools.evidence.grouping import grouping_table

    click.echo(grouping_table(Emulation(model, data, limit or 500), hyperplanes, seeds).write())


@main.command()
@options
@click.option("--hyperplanes", callback=numbers(1), default="10,14", show_default=True)
def gaussian(model: Path, data: str, limit: int | None, seeds: list[int], hyperplanes: list[int]) -> None:
    """Dense Gaussian against ternary hyperplanes (Table 8). Needs PyTorch."""
    from tools.evidence.emulation import Emulation
    from tools.evidence.grouping import gaussian_table

    click.echo(gaussian_table(Emulation(model, data, limit or 500), hyperplanes, seeds).write())


def calibrate_option(function: Any) -> Any:
    """Where corrections come from."""
    for option in (
        click.option("--samples", type=click.IntRange(1), default=128, show_default=True),
        click.option("--calibrate", required=True, metavar="DATA", help="Images to calibrate on; not those of --data."),
    ):
        function = option(function)
    return function


@main.command()
@options
@calibrate_option
@click.option("--hyperplanes", callback=numbers(1), default="8,10,12", show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
@click.option("--merge", "merges", type=click.Choice(MERGES), multiple=True, default=("mean", "scaled"))
@click.option("--synthetic", is_flag=True, help="Also calibrate on synthetic images.")
def correction(
    model: Path,
    data: str,
    limit: int | None,
    seeds: list[int],
    calibrate: str,
    samples: int,
    hyperplanes: list[int],
    sparsity: float,
    merges: tuple[Any, ...],
    synthetic: bool,
) -> None:
    """Gain correction against none, at the same uniform L."""
    from tools.evidence.measure import Measurement
    from tools.evidence.sweeps import correction_table

    measured = Measurement(model, data, limit, seeds, calibrate, samples)
    click.echo(correction_table(measured, samples, hyperplanes, sparsity, merges, synthetic).write())


@main.command()
@click.argument("name", type=click.Choice(["vgg16", "nsfw"]))
@click.option("--seeds", callback=numbers(0), default="0,1,2", show_default=True)
@click.option("--hyperplanes", callback=numbers(1), default="8,10,12,14,20,28", show_default=True)
@click.option("--sparsity", type=float, default=0.5, show_default=True)
def photographs(name: str, seeds: list[int], hyperplanes: list[int], sparsity: float) -> None:
    """A third-party model over L, on photographs without labels."""
    from tools.evidence.photos import photo_table

    click.echo(photo_table(name, seeds, hyperplanes, sparsity).write())


@main.command()
@options
@merge_option
@click.option("--hyperplanes", "count", type=int, default=14, show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
@click.option("--layer", help="The layer whose terms are reckoned in full; by default the one that costs most.")
def flops(
    model: Path, data: str, limit: int | None, seeds: list[int], merge: Any, count: int, sparsity: float, layer: str
) -> None:
    """The FLOPs of appendix B.1, term by term (first seed)."""
    from tools.evidence.bookkeeping import write_bookkeeping
    from tools.evidence.measure import Measurement

    click.echo(write_bookkeeping(Measurement(model, data, limit or 100, seeds[:1]), merge, count, sparsity, layer))


@main.command()
@options
@calibrate_option
@merge_option
@click.option("--corrected", is_flag=True)
@click.option("--hyperplanes", callback=numbers(1), default="8,10,12", show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
def planes(
    model: Path,
    data: str,
    limit: int | None,
    seeds: list[int],
    calibrate: str,
    samples: int,
    merge: Any,
    corrected: bool,
    hyperplanes: list[int],
    sparsity: float,
) -> None:
    """Other ways to choose hyperplanes."""
    from tools.evidence.measure import Measurement
    from tools.evidence.plane_table import planes_table
    from tools.evidence.settings import Method

    measured = Measurement(model, data, limit, seeds, calibrate, samples)
    method = Method(merge, sparsity, corrected=corrected)
    click.echo(planes_table(measured, hyperplanes, method).write())


@main.command()
@options
@calibrate_option
@click.option("--hyperplanes", callback=numbers(1), default="8,10", show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
def merging(
    model: Path,
    data: str,
    limit: int | None,
    seeds: list[int],
    calibrate: str,
    samples: int,
    hyperplanes: list[int],
    sparsity: float,
) -> None:
    """Other ways to merge. Needs PyTorch."""
    from tools.evidence.emulation import Emulation
    from tools.evidence.merging_table import merging_table

    emulation = Emulation(model, data, limit or 500, calibrate, samples)
    click.echo(merging_table(emulation, hyperplanes, seeds, sparsity).write())


@main.command()
@options
@calibrate_option
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
@click.option(
    "--plan",
    "plans",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Of haste tune: its levels become a curve, without and with correction.",
)
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True, help="Runs to time a setting.")
@click.option(
    "--only",
    type=click.Choice(["judge", "time"]),
    help="Only judge, on a machine that may be busy; or only time what was judged, on one that is not.",
)
def equal(
    model: Path,
    data: str,
    limit: int | None,
    seeds: list[int],
    calibrate: str,
    samples: int,
    sparsity: float,
    plans: tuple[Path, ...],
    repeats: int,
    only: str | None,
) -> None:
    """Accuracy lost by all methods at equal FLOPs and at equal time."""
    from tools.evidence.equal import curves, judge, measure_times, write_equal
    from tools.evidence.measure import Measurement

    measured = Measurement(model, data, limit, seeds, calibrate, samples)
    which = list(curves(sparsity, plans))
    if only == "judge":
        judge(measured, which)
    elif only == "time":
        measure_times(measured, which, repeats)
    else:
        click.echo(write_equal(measured, which, repeats))


if __name__ == "__main__":
    main()
