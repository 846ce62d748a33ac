"""The picture: error of the last feature map against time, each engine a point, ours a curve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from tools.engines.results import Row

EXACT = 1e-3  # below this error the axis is linear: rounding, and the baseline's own zero
OURS = "haste"
_MARKERS = "os^vD<>phX*P"


def draw(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Write a PNG of the rows that were measured; logarithmic but for the smallest errors, down and left is better."""
    figure, axes = pyplot.subplots(figsize=(9.5, 5.5), layout="constrained")
    measured = [row for row in rows if row.median is not None and row.feature_error is not None]
    others = [row for row in measured if row.engine != OURS]
    for row, marker in zip(others, cycle(_MARKERS)):
        _bars(axes, row, marker, None)
    _curve(axes, [row for row in measured if row.engine == OURS])
    axes.set(xscale="log", title=title)
    axes.set_yscale("symlog", linthresh=EXACT)
    axes.set_ylim(-EXACT / 5, 1.5)
    axes.set_xlabel("time of one inference, ms (median; bars: quartiles)")
    axes.set_ylabel("relative error of the last feature map against stock")
    axes.grid(visible=True, which="both", alpha=0.2)
    figure.legend(loc="outside right center")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _curve(axes: Axes, rows: Sequence[Row]) -> None:
    ours = sorted(rows, key=lambda row: _place(row)[1])
    if not ours:
        return
    axes.plot(*zip(*map(_place, ours), strict=True), color="black", linewidth=1.2, label=OURS)
    for row in ours:
        _bars(axes, row, ".", "black")
        setting = row.label.removeprefix(OURS).strip()
        axes.annotate(setting, _place(row), xytext=(-6, 4), textcoords="offset points", fontsize=8, ha="right")


def _place(row: Row) -> tuple[float, float]:
    assert row.median is not None
    assert row.feature_error is not None
    return row.median, min(row.feature_error, 1.0)


def _bars(axes: Axes, row: Row, marker: str, color: str | None) -> None:
    x, y = _place(row)
    assert row.first_quartile is not None
    assert row.third_quartile is not None
    spread = [[x - row.first_quartile], [row.third_quartile - x]]
    label = row.label if row.engine != OURS else None
    axes.errorbar(x, y, xerr=spread, fmt=marker, color=color, markersize=6, capsize=2, label=label)
