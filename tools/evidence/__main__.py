"""``python -m tools.evidence TABLE MODEL --data test.npz``: one table, written to docs/results or to --out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from haste_export.cli.parameters import decimals, numbers
from haste_export.contract import MERGES
from haste_export.options import Options
from tools.evidence.tables import RESULTS, Document

if TYPE_CHECKING:
    from tools.evidence.emulation import Emulation
    from tools.evidence.measure import Measurement

Measuring = Callable[..., Document | None]
"""From a command's arguments to what is to be written; None where only the store is filled."""


@dataclass(frozen=True)
class Source:
    """What a table is measured on: a model, labelled images, seeds, and images that corrections come from."""

    model: Path
    data: str
    limit: int | None
    seeds: list[int]
    calibrate: str | None = None
    samples: int = 128

    def measurement(self) -> Measurement:
        """With the native library."""
        from tools.evidence.measure import Measurement

        return Measurement(self.model, self.data, self.limit, self.seeds, self.calibrate, self.samples)

    def emulation(self) -> Emulation:
        """In PyTorch, of fewer images."""
        from tools.evidence.emulation import Emulation

        return Emulation(self.model, self.data, self.limit or 500, self.calibrate, self.samples)


_SOURCE = (
    click.option("--seeds", callback=numbers(0), default="0,1,2", show_default=True),
    click.option("--limit", type=click.IntRange(1), help="Use the first samples only."),
    click.option("--data", required=True),
    click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
)
_CALIBRATION = (
    click.option("--samples", type=click.IntRange(1), default=128, show_default=True),
    click.option("--calibrate", required=True, metavar="DATA", help="Images to calibrate on; not those of --data."),
)


def source_options(*, calibrated: bool = False) -> Callable[[Measuring], Measuring]:
    """The options that all tables have in common; the command gets them as its first argument, a Source."""
    options = (*(_CALIBRATION if calibrated else ()), *_SOURCE)
    names = ["model", "data", "limit", "seeds", *(["calibrate", "samples"] if calibrated else [])]

    def decorate(function: Measuring) -> Measuring:
        @wraps(function)
        def command(**given: Any) -> Document | None:
            source = Source(**{name: given.pop(name) for name in names})
            return function(source, **given)

        for option in options:
            command = option(command)
        return command

    return decorate


def merge_option(function: Any) -> Any:
    """Which merge."""
    return click.option("--merge", type=click.Choice(MERGES), default="mean", show_default=True)(function)


def timing_options(function: Any) -> Any:
    """How a setting is timed, and whether it is."""
    repeats = click.option(
        "--repeats", type=click.IntRange(1), default=7, show_default=True, help="Runs to time a setting."
    )
    only = click.option(
        "--only",
        type=click.Choice(["judge", "time"]),
        help="Only judge, on a machine that may be busy; or only time what was judged, on one that is not.",
    )
    return repeats(only(function))


@click.group()
def main() -> None:
    """Measure the tables of docs/accuracy.md."""


def evidence(function: Measuring) -> click.Command:
    """A command of `main`: the document that the function returns is written where --out says."""

    @wraps(function)
    def command(out: Path, **given: Any) -> None:
        document = function(**given)
        if document is not None:
            click.echo(document.write(out))

    folder = click.Path(file_okay=False, path_type=Path)
    option = click.option("--out", type=folder, default=RESULTS, show_default="docs/results", help="Where to write.")
    return main.command()(option(command))


@evidence
@source_options()
@click.option("--hyperplanes", callback=numbers(1), default="8,10,12,14,20", show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
def hyperplanes(source: Source, hyperplanes: list[int], sparsity: float) -> Document:
    """Accuracy and cost over L (the paper's Tables 4 and 5)."""
    from tools.evidence.sweeps import hyperplane_table

    return hyperplane_table(source.measurement(), hyperplanes, sparsity).document()


@evidence
@source_options()
@merge_option
@click.option("--hyperplanes", "count", type=int, default=12, show_default=True)
@click.option("--sparsities", callback=decimals(), default="0,0.33333,0.5,0.66667,0.8,0.9", show_default=True)
def sparsity(source: Source, merge: Any, count: int, sparsities: tuple[float, ...]) -> Document:
    """Share of zeros in the hyperplanes (Table 7)."""
    from tools.evidence.sweeps import sparsity_table

    return sparsity_table(source.measurement(), count, sparsities, merge).document()


@evidence
@source_options()
@merge_option
@click.option("--hyperplanes", callback=numbers(1), default="10,14", show_default=True)
def first(source: Source, merge: Any, hyperplanes: list[int]) -> Document:
    """Layers left alone at the front."""
    from tools.evidence.sweeps import first_table

    return first_table(source.measurement(), hyperplanes, merge).document()


@evidence
@source_options()
@merge_option
@click.option("--hyperplanes", callback=numbers(1), default="10,14", show_default=True)
@click.option("--patches", callback=numbers(1), default="3,5,6,7", show_default=True)
def patch(source: Source, merge: Any, hyperplanes: list[int], patches: list[int]) -> Document:
    """Patch size (Table 9)."""
    from tools.evidence.sweeps import patch_table

    return patch_table(source.measurement(), hyperplanes, patches, merge).document()


@evidence
@source_options()
@click.option("--hyperplanes", callback=numbers(1), default="10,14", show_default=True)
def grouping(source: Source, hyperplanes: list[int]) -> Document:
    """LSH against random groups of equal sizes (Table 6). Needs PyTorch."""
    from tools.evidence.grouping import grouping_table

    return grouping_table(source.emulation(), hyperplanes, source.seeds).document()


@evidence
@source_options()
@click.option("--hyperplanes", callback=numbers(1), default="10,14", show_default=True)
def gaussian(source: Source, hyperplanes: list[int]) -> Document:
    """Dense Gaussian against ternary hyperplanes (Table 8). Needs PyTorch."""
    from tools.evidence.grouping import gaussian_table

    return gaussian_table(source.emulation(), hyperplanes, source.seeds).document()


@evidence
@source_options(calibrated=True)
@click.option("--hyperplanes", callback=numbers(1), default="8,10,12", show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
@click.option("--merge", "merges", type=click.Choice(MERGES), multiple=True, default=("mean", "scaled"))
@click.option("--synthetic", is_flag=True, help="Also calibrate on synthetic images.")
def correction(
    source: Source, hyperplanes: list[int], sparsity: float, merges: tuple[Any, ...], synthetic: bool
) -> Document:
    """Gain correction against none, at the same uniform L."""
    from tools.evidence.sweeps import correction_table

    measured = source.measurement()
    return correction_table(measured, source.samples, hyperplanes, sparsity, merges, synthetic).document()


@evidence
@click.argument("name", type=click.Choice(["vgg16", "nsfw"]))
@click.option("--seeds", callback=numbers(0), default="0,1,2", show_default=True)
@click.option("--hyperplanes", callback=numbers(1), default="8,10,12,14,20,28", show_default=True)
@click.option("--sparsity", type=float, default=0.5, show_default=True)
def photographs(name: str, seeds: list[int], hyperplanes: list[int], sparsity: float) -> Document:
    """A third-party model over L, on photographs without labels."""
    from tools.evidence.photos import photo_table

    return photo_table(name, seeds, hyperplanes, sparsity).document()


@evidence
@source_options()
@merge_option
@click.option("--hyperplanes", "count", type=int, default=14, show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
@click.option("--layer", help="The layer whose terms are reckoned in full; by default the one that costs most.")
def flops(source: Source, merge: Any, count: int, sparsity: float, layer: str) -> Document:
    """The FLOPs of appendix B.1, term by term (first seed)."""
    from tools.evidence.bookkeeping import bookkeeping

    one = replace(source, limit=source.limit or 100, seeds=source.seeds[:1])
    return bookkeeping(one.measurement(), merge, count, sparsity, layer)


@evidence
@source_options(calibrated=True)
@merge_option
@click.option("--corrected", is_flag=True)
@click.option("--hyperplanes", callback=numbers(1), default="8,10,12", show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
def planes(source: Source, merge: Any, corrected: bool, hyperplanes: list[int], sparsity: float) -> Document:
    """Other ways to choose hyperplanes."""
    from tools.evidence.plane_table import planes_table
    from tools.evidence.settings import Method

    measured = source.measurement()
    method = Method(merge, sparsity, corrected=corrected)
    return planes_table(measured, hyperplanes, method).document()


@evidence
@source_options(calibrated=True)
@click.option("--hyperplanes", callback=numbers(1), default="8,10", show_default=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
def merging(source: Source, hyperplanes: list[int], sparsity: float) -> Document:
    """Other ways to merge. Needs PyTorch."""
    from tools.evidence.merging_table import merging_table

    emulation = source.emulation()
    return merging_table(emulation, hyperplanes, source.seeds, sparsity).document()


@evidence
@source_options(calibrated=True)
@click.option("--sparsity", type=float, default=2 / 3, show_default=True)
@click.option(
    "--plan",
    "plans",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Of haste tune: its levels become a curve, without and with correction.",
)
@timing_options
def equal(source: Source, sparsity: float, plans: tuple[Path, ...], repeats: int, only: str | None) -> Document | None:
    """Accuracy lost by all methods at equal FLOPs and at equal time."""
    from tools.evidence.equal import curves, equal_cost, fill

    measured = source.measurement()
    which = list(curves(sparsity, plans))
    if only:
        fill(measured, which, repeats, only)
        return None
    return equal_cost(measured, which, repeats)


@evidence
@source_options(calibrated=True)
@click.option("--hyperplanes", callback=numbers(1), default="7,8,9,10,12,14,20", show_default=True)
@click.option("--sparsity", type=float, default=Options.sparsity, show_default=True)
@timing_options
def defaults(
    source: Source, hyperplanes: list[int], sparsity: float, repeats: int, only: str | None
) -> Document | None:
    """What the compiler's defaults lose, and for which time, beside --patch 3."""
    from tools.evidence.defaults import default_curves, selection
    from tools.evidence.equal import equal_cost, fill

    measured = source.measurement()
    which = list(default_curves(measured, sparsity, hyperplanes))
    if only:
        fill(measured, which, repeats, only)
        return None
    title = "What the compiler's defaults lose, and for which time"
    return equal_cost(measured, which, repeats, "defaults", title, selection(measured, which))


if __name__ == "__main__":
    main()
