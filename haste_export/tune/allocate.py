"""Settings from an additive model: every layer's own effect is measured alone, and the effects are taken to add up.

Squared errors of independent disturbances add, and FLOPs do so exactly. For a price λ on error, each layer then takes
the setting that minimises λ·error² − saved, on its own; every λ gives a point on the lower convex hull of all possible
choices. What the model leaves out (errors that pass through layers changed themselves) the search corrects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from haste_export.plan import LayerSetting

DENSE = LayerSetting(0)


@dataclass(frozen=True)
class Effect:
    """What a layer does at a setting, alone: squared relative error, and share of the model's FLOPs saved."""

    setting: LayerSetting
    error_squared: float
    saved: float


Effects = Mapping[str, Sequence[Effect]]


def measure_effects(
    layers: Sequence[str],
    settings: Sequence[LayerSetting],
    measure: Callable[[str, LayerSetting], tuple[float, float]],
    progress: Callable[[], None] | None = None,
) -> dict[str, list[Effect]]:
    """Effects of every layer at every setting; `measure` gives (relative error, share of FLOPs saved)."""
    effects: dict[str, list[Effect]] = {}
    for name in layers:
        effects[name] = [Effect(DENSE, 0.0, 0.0)]
        for setting in settings:
            error, saved = measure(name, setting)
            effects[name].append(Effect(setting, error**2, saved))
            if progress is not None:
                progress()
    return effects


def choose(effects: Effects, price: float) -> dict[str, LayerSetting]:
    """Every layer's best setting when one unit of squared error costs `price` times the whole model's FLOPs."""
    best = {name: min(rows, key=lambda row: price * row.error_squared - row.saved) for name, rows in effects.items()}
    return {name: row.setting for name, row in best.items()}


def hull(effects: Effects, count: int) -> list[dict[str, LayerSetting]]:
    """Up to `count` different choices, from the most to the least compressed, evenly spread in what they save."""
    points = _whole_hull(effects)
    if len(points) <= count:
        return points
    savings = [saved(effects, point) for point in points]
    wanted = np.linspace(max(savings), min(savings), count)
    places = dict.fromkeys(int(np.argmin([abs(value - target) for value in savings])) for target in wanted)
    return [points[place] for place in places]


def _whole_hull(effects: Effects) -> list[dict[str, LayerSetting]]:
    prices = np.geomspace(1e-3, 1e7, 400)
    choices = list({tuple(sorted(choose(effects, price).items(), key=lambda item: item[0])): None for price in prices})
    points = [dict(choice) for choice in choices]
    return [point for point in points if any(setting.hyperplanes for setting in point.values())]


def halfway(
    effects: Effects, fits: Sequence[Mapping[str, LayerSetting]], fails: Sequence[Mapping[str, LayerSetting]]
) -> dict[str, LayerSetting] | None:
    """The point of the hull amid what saves most of `fits` and what saves least, but more than that, of `fails`.

    None when there is no such point: then what fits best is as good as the hull can tell.
    """
    low = max((saved(effects, point) for point in fits), default=0.0)
    high = min((value for value in (saved(effects, point) for point in fails) if value > low), default=None)
    if high is None:
        return None
    between = [point for point in _whole_hull(effects) if low < saved(effects, point) < high]
    return min(between, key=lambda point: abs(saved(effects, point) - (low + high) / 2), default=None)


def saved(effects: Effects, choice: Mapping[str, LayerSetting]) -> float:
    """Share of the model's FLOPs that a choice saves, by the additive model."""
    return sum(row.saved for name, rows in effects.items() for row in rows if row.setting == choice[name])


def reach(effects: Effects, reduction: float) -> dict[str, LayerSetting]:
    """The choice with the least error that saves at least `reduction`, or the one that saves most if none does."""
    low, high = 1e-6, 1e12
    if saved(effects, choose(effects, low)) < reduction:
        return choose(effects, low)
    for _ in range(80):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if saved(effects, choose(effects, middle)) >= reduction else (low, middle)
    return choose(effects, low)
