"""Line and bar charts as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 28, 46
COLOURS = ("#1f6f8b", "#c1440e", "#5b8c2a", "#7d4fa3", "#b58900", "#3a3a3a")


@dataclass(frozen=True)
class Series:
    """A named line: points (x, y), and a text for each."""

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str]


@dataclass(frozen=True)
class Axis:
    """Title, and format of the numbers as for `format`; `names` stand at 0, 1, 2, ... in the place of numbers."""

    title: str
    form: str = "g"
    names: Sequence[str] = ()


def line_chart(series: Sequence[Series], x: Axis, y: Axis, label: str, level: float | None = None) -> str:
    """Lines with dots; every dot has a tool tip and, for one line, its label beside it.

    Args:
        series: the lines.
        x: axis; names stand slanted.
        y: axis.
        label: what the chart shows, for those who cannot see it.
        level: a dashed line at this y, for stock.
    """
    xs = [point[0] for line in series for point in line.points] or [0.0]
    ys = [point[1] for line in series for point in line.points] + ([level] if level is not None else []) or [0.0]
    bottom = _BOTTOM + (60 if x.names else 0)
    plot = _Plot(_ticks(min(xs), max(xs)), _ticks(min(ys), max(ys)), HEIGHT + bottom - _BOTTOM, bottom)
    if x.names:
        plot = _Plot([0, max(len(x.names) - 1, 1)], plot.y_ticks, plot.height, bottom)
    parts = [_frame(plot, x, y)]
    if level is not None:
        at = plot.y(level)
        parts.append(f'<line class="stock" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{WIDTH - _RIGHT}" y="{at - 4:.1f}" text-anchor="end">stock</text>')
    parts += [_line(plot, line, COLOURS[index % len(COLOURS)], len(series) == 1) for index, line in enumerate(series)]
    if len(series) > 1:
        parts.append(_legend([line.name for line in series]))
    size = f'viewBox="0 0 {WIDTH} {plot.height}"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


@dataclass(frozen=True)
class _Plot:
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    height: int
    bottom: int

    def x(self, value: float) -> float:
        share = (value - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0])
        return _LEFT + 8 + share * (WIDTH - _LEFT - _RIGHT - 16)

    def y(self, value: float) -> float:
        share = (value - self.y_ticks[0]) / (self.y_ticks[-1] - self.y_ticks[0])
        return self.height - self.bottom - share * (self.height - _TOP - self.bottom)


def _ticks(low: float, high: float) -> list[float]:
    """Four to nine round numbers that enclose the range."""
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 5
    power = 10.0 ** _floor_log10(raw)
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first = _floor(low / step)
    ticks = [round((first + index) * step, 12) for index in range(12)]
    last = next(index for index, tick in enumerate(ticks) if tick >= high - 1e-9 * step)
    return ticks[: max(last, 1) + 1]


def _floor(value: float) -> int:
    return int(value // 1)


def _floor_log10(value: float) -> int:
    exponent = 0
    while value < 1:
        value, exponent = value * 10, exponent - 1
    while value >= 10:
        value, exponent = value / 10, exponent + 1
    return exponent


def _frame(plot: _Plot, x: Axis, y: Axis) -> str:
    base = plot.height - plot.bottom
    parts = []
    for tick in plot.y_ticks:
        at = plot.y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{tick:{y.form}}</text>')
    if x.names:
        for place, name in enumerate(x.names):
            at = plot.x(place)
            turn = f'transform="rotate(-40 {at:.1f} {base + 14})"'
            parts.append(f'<text x="{at:.1f}" y="{base + 14}" text-anchor="end" {turn}>{escape(name[-18:])}</text>')
    else:
        places = [(plot.x(tick), f"{tick:{x.form}}") for tick in plot.x_ticks]
        parts += [f'<text x="{at:.1f}" y="{base + 18}" text-anchor="middle">{text}</text>' for at, text in places]
    middle = _TOP + (base - _TOP) / 2
    parts.append(
        f'<text x="{WIDTH / 2}" y="{plot.height - 6}" text-anchor="middle" class="title">{escape(x.title)}</text>'
    )
    turn = f'transform="rotate(-90 14 {middle})"'
    parts.append(f'<text x="14" y="{middle}" text-anchor="middle" class="title" {turn}>{escape(y.title)}</text>')
    return "".join(parts)


def _line(plot: _Plot, line: Series, colour: str, named: bool) -> str:
    places = [(plot.x(x), plot.y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{path}" stroke="{colour}"/>']
    for (x, y), label in zip(places, line.labels, strict=True):
        text = escape(label)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{text}</title></circle>')
        if named:
            parts.append(f'<text x="{x + 6:.1f}" y="{y - 6:.1f}">{text.split(":")[0]}</text>')
    return "".join(parts)


def _legend(names: Sequence[str]) -> str:
    parts = []
    step = min(90, (WIDTH - _LEFT) / len(names))
    for index, name in enumerate(names):
        x, colour = _LEFT + step * index, COLOURS[index % len(COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="4" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15:.1f}" y="13">{escape(name)}</text>')
    return "".join(parts)
