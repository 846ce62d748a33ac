"""Pictures of what `haste eval` found, as SVG or PNG files. Matplotlib is an optional extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haste_export.errors import MissingDependencyError, OptionError, OutputError
from haste_export.evaluate.layers import LayerEffect
from haste_export.evaluate.sweep import Spread
from haste_export.replace import replacements

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FORMATS = (".svg", ".png", ".pdf")


def check_plot(path: Path) -> None:
    """Find out before any work that a picture can not be drawn.

    Raises:
        OptionError: the ending of the name is not that of a picture.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"--plot {path}: the name must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    _pyplot()


def plot_sweep(
    path: Path, summary: Mapping[int, Mapping[str, Spread | None]], stock_score: float | None, metric: str, label: str
) -> None:
    """The score (agreement, without labels) against the FLOPs reduction and against time relative to stock.

    One dot per setting with the deviation over the seeds as bars, annotated with the setting.
    Raises MissingDependencyError without matplotlib.
    """
    plot = _pyplot()
    figure, axes = plot.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    number = "agreement" if stock_score is None else "score"
    spreads = {setting: row for setting, row in summary.items() if row[number] is not None}
    costs = ("flops_reduction", "FLOPs saved (%)"), ("time", "time relative to stock (%)")
    for axis, (cost, title) in zip(axes, costs, strict=True):
        _curve(axis, spreads, cost, number)
        axis.set_xlabel(title)
        if stock_score is not None:
            axis.axhline(stock_score * 100, color="0.6", linestyle="--", label="stock")
    axes[0].set_ylabel(f"{metric} (%)" if number == "score" else "agreement with stock (%)")
    figure.suptitle(label)
    _save(figure, path)
    plot.close(figure)


def _curve(axis: Axes, summary: Mapping[int, Mapping[str, Spread | None]], cost: str, number: str) -> None:
    xs, ys, errors, names = [], [], [], []
    for setting, row in summary.items():
        score = row[number]
        assert score is not None
        xs.append(_cost(row, cost) * 100)
        ys.append(score.mean * 100)
        errors.append(score.std * 100)
        names.append(str(setting))
    axis.errorbar(xs, ys, yerr=errors, marker="o", capsize=3, color="#1f6f8b")
    for x, y, name in zip(xs, ys, names, strict=True):
        axis.annotate(name, (x, y), textcoords="offset points", xytext=(4, 5), fontsize=8)
    axis.grid(alpha=0.3)


def _cost(row: Mapping[str, Spread | None], cost: str) -> float:
    if cost != "time":
        spread = row[cost]
        assert spread is not None
        return spread.mean
    ours, stock = row["milliseconds"], row["stock_milliseconds"]
    assert ours is not None
    assert stock is not None
    return ours.mean / stock.mean if stock.mean else 0.0


def plot_layers(path: Path, effects: Sequence[LayerEffect], label: str) -> None:
    """Two bars per layer, in the model's order: the model's error with only this layer compressed, and its own error.

    Raises MissingDependencyError without matplotlib.
    """
    plot = _pyplot()
    figure, axis = plot.subplots(figsize=(8, 1.2 + 0.3 * len(effects)), layout="constrained")
    rows = range(len(effects))
    alone = [effect.alone.quality.error for effect in effects]
    own = [effect.local_error for effect in effects]
    above, below = [row - 0.2 for row in rows], [row + 0.2 for row in rows]
    axis.barh(above, alone, 0.4, label="model output, only this layer compressed", color="#c1440e")
    axis.barh(below, own, 0.4, label="layer output, stock input", color="#1f6f8b")
    axis.set_yticks(list(rows), [effect.name for effect in effects], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("relative error")
    axis.legend(fontsize=8)
    axis.set_title(label)
    _save(figure, path)
    plot.close(figure)


def _save(figure: Figure, path: Path) -> None:
    try:
        with replacements(path) as (file,):
            figure.savefig(file, format=path.suffix.lower()[1:])
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError("a plot needs matplotlib: pip install 'haste-export[plot]'") from error
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot
