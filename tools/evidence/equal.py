"""What else could be had for the cost of the paper's method: accuracy lost at equal FLOPs and at equal time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tools.evidence.measure import Measurement
from tools.evidence.settings import Method, Setting, from_plan, uniform
from tools.evidence.store import Numbers
from tools.evidence.tables import Document, cell, grid, head

LOSS, SAVED, TIME = "top-1 loss (points)", "FLOPs saved (%)", "time"
_COLUMNS = (LOSS, "agreement (%)", "error", SAVED)
_UNREACHED = "not reached"
_SPARSE = 0.8
"""Of hyperplanes with few entries: coarser at the same L, and cheaper."""


@dataclass(frozen=True)
class Curve:
    """A method at several settings."""

    name: str
    method: Method
    settings: Sequence[Setting]

    @property
    def needs_data(self) -> bool:
        """Whether images of the task decided anything about it."""
        return self.method.corrected or any(setting.layers for setting in self.settings)


@dataclass(frozen=True)
class Measured:
    """A curve's points: one row per seed for every setting, and times of the first seed relative to stock."""

    curve: Curve
    rows: Sequence[Sequence[Numbers]]
    times: Sequence[float]

    def cost(self, what: str, seed: int) -> list[float]:
        """Share of stock's cost that is left, at every setting."""
        return list(self.times) if what == TIME else [1 - row[seed][SAVED] / 100 for row in self.rows]

    def loss(self, seed: int) -> list[float]:
        """Points of top-1, or of agreement where there are no labels."""
        rows = [row[seed] for row in self.rows]
        return [row[LOSS] if LOSS in row else 100 - row["agreement (%)"] for row in rows]

    def loss_at(self, what: str, cost: float, seed: int) -> float | None:
        """The least loss at this cost or less, linear between neighbouring points; None if no point is as cheap."""
        pairs = sorted(zip(self.cost(what, seed), self.loss(seed), strict=True))
        costs = [pair[0] for pair in pairs]
        losses = np.minimum.accumulate([pair[1] for pair in pairs])
        return None if cost < costs[0] else float(np.interp(cost, costs, losses))


def curves(sparsity: float, plans: Sequence[Path]) -> Iterator[Curve]:
    """The paper's method first, then ours: one change at a time, and together."""
    mean, scaled = Method("mean", sparsity), Method("scaled", sparsity)
    bounded = [*uniform([6], 0.4), *uniform([6], 0.2), *uniform([7], 0.2), *uniform([7], 0.1), *uniform([8], 0.05)]
    yield Curve("mean, uniform L", mean, uniform([8, 9, 10, 11, 12, 14]))
    yield Curve("scaled, uniform L", scaled, uniform([6, 7, 8, 9, 10, 12, 14]))
    yield Curve("scaled, uniform L and τ", scaled, bounded)
    sparse = replace(scaled, sparsity=_SPARSE)
    yield Curve(f"scaled, uniform L, s = {_SPARSE}", sparse, uniform([8, 9, 10, 12, 14, 17]))
    yield Curve("mean, corrected", replace(mean, corrected=True), uniform([7, 8, 9, 10, 12]))
    yield Curve("scaled, corrected", replace(scaled, corrected=True), uniform([6, 7, 8, 9, 10, 12]))
    yield Curve("scaled and τ, corrected", replace(scaled, corrected=True), bounded[:4])
    for path in plans:
        method, settings = from_plan(path)
        yield Curve(f"L per layer, {path.stem}", method, settings)
        yield Curve(f"L per layer, {path.stem}, corrected", replace(method, corrected=True), settings)


def fill(measured: Measurement, which: Sequence[Curve], repeats: int, only: str) -> None:
    """Only fill the store: "judge" with what no clock is needed for, "time" with times of what has been judged already.

    The latter is for a machine that is kept quiet as long as this runs.
    """
    for curve in which:
        if only == "judge":
            measured.rows(curve.method, curve.settings)
        else:
            judged = [setting for setting in curve.settings if measured.is_known(curve.method, setting)]
            measured.times(curve.method, judged, repeats)


def equal_cost(
    measured: Measurement,
    which: Sequence[Curve],
    repeats: int,
    name: str = "equal",
    title: str = "Accuracy lost at equal cost",
    further: Mapping[str, str] | None = None,
) -> Document:
    """The document; the first curve is what the others are held against. `further` is for its head."""
    points = [
        Measured(
            curve,
            measured.rows(curve.method, curve.settings),
            [numbers["time"] for numbers in measured.times(curve.method, curve.settings, repeats)],
        )
        for curve in which
    ]
    table = measured.table(
        name,
        f"{title}, s = {which[0].method.sparsity:.2f} unless said otherwise",
        {
            "time": f"relative to stock on one thread, batches of {len(next(measured.dataset.batches()))}, median of "
            f"{repeats} runs in turns with it, first seed",
            "correction": f"on {measured.samples} unlabelled images that are not among those judged on",
            **(further or {}),
        },
    )
    seeds = range(len(measured.seeds))
    sections = [head(table.title, table.facts)]
    document: dict[str, Any] = {"title": table.title, **table.facts}
    for what, heading in ((SAVED, "At equal FLOPs"), (TIME, "At equal time")):
        rows = {entry.curve.name: _row(points[0], entry, what, seeds) for entry in points}
        columns = [_column(points[0], what, place, seeds) for place in range(len(points[0].curve.settings))]
        text = {name: [cell(losses) if losses else _UNREACHED for losses in row] for name, row in rows.items()}
        sections.append(f"\n## {heading}\n\nPoints of top-1 lost at the cost of the first row.\n\n")
        sections.append(grid(columns, text))
        without_data = {entry.curve.name: rows[entry.curve.name] for entry in points if not entry.curve.needs_data}
        sections.append(f"\n{_verdict(rows, 'with everything allowed')}\n\n{_verdict(without_data, 'without data')}\n")
        document[heading.lower()] = {name: dict(zip(columns, row, strict=True)) for name, row in rows.items()}
    sections.append("\n## All points\n\n" + _points(points))
    document["points"] = {entry.curve.name: _point_rows(entry) for entry in points}
    return Document(table.name, "".join(sections), document)


def _row(base: Measured, entry: Measured, what: str, seeds: range) -> list[list[float] | None]:
    """Losses by seed at the cost of every setting of `base`; None where some seed does not get there."""
    places = range(len(base.curve.settings))
    found = [[entry.loss_at(what, base.cost(what, seed)[place], seed) for seed in seeds] for place in places]
    return [None if None in losses else [float(loss or 0) for loss in losses] for losses in found]


def _column(base: Measured, what: str, place: int, seeds: range) -> str:
    cost = float(np.mean([base.cost(what, seed)[place] for seed in seeds]))
    label = f"time × {cost:.2f}" if what == TIME else f"{(1 - cost) * 100:.0f} % saved"
    return f"{base.curve.settings[place].name}: {label}"


def _verdict(rows: Mapping[str, Sequence[Sequence[float] | None]], allowed: str) -> str:
    """Loss of the best curve relative to the first, over the columns where the first loses a point or more."""
    (_, base), *others = rows.items()
    shares = []
    for place, losses in enumerate(base):
        reached = {name: row[place] for name, row in others if row[place] is not None}
        if losses is None or np.mean(losses) < 1 or not reached:
            continue
        name, best = min(reached.items(), key=lambda item: float(np.mean(item[1] or 0)))
        shares.append((max(float(np.mean(best or 0)), 0) / float(np.mean(losses)), name))
    if not shares:
        return "The first row loses less than a point everywhere."
    listed = ", ".join(f"{share:.2f} ({name})" for share, name in shares)
    return f"Least loss {allowed}, as a share of the first row's where that loses a point or more: {listed}."


def _points(points: Sequence[Measured]) -> str:
    rows = {}
    for entry in points:
        for setting, seeds, time in zip(entry.curve.settings, entry.rows, entry.times, strict=True):
            cells = [cell([row[name] for row in seeds]) if name in seeds[0] else "-" for name in _COLUMNS]
            rows[f"{entry.curve.name}: {setting.name}"] = [*cells, f"{time:.3f}"]
    return grid([*_COLUMNS, "time of stock's"], rows)


def _point_rows(entry: Measured) -> list[dict[str, Any]]:
    together = zip(entry.curve.settings, entry.rows, entry.times, strict=True)
    return [{"setting": setting.name, "time": time, "seeds": list(rows)} for setting, rows, time in together]
