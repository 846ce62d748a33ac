"""From what a search tried to a plan with a few levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from haste_export.plan import LayerSetting, Plan
from haste_export.tune.objective import Result

Settings = Mapping[str, LayerSetting]
Tried = Sequence[tuple[Settings, Result]]

NEVER_GAINS = "dense at every level of the plan"


@dataclass(frozen=True)
class Level:
    """A point of the front that became a level."""

    settings: Settings
    result: Result


def front(tried: Tried) -> list[tuple[Settings, Result]]:
    """What nothing else beats in cost and safe drop together, cheapest first."""
    ordered = sorted(tried, key=lambda pair: (pair[1].cost, pair[1].safe_drop))
    best: list[tuple[Settings, Result]] = []
    for pair in ordered:
        if not best or pair[1].safe_drop < best[-1][1].safe_drop:
            best.append(pair)
    return best


def choose_levels(tried: Tried, max_drop: float, count: int) -> list[Level]:
    """The cheapest choices within 1/count, 2/count, ... of the budget, from the most accurate to the cheapest.

    Fewer when one choice is the cheapest for several budgets; none when nothing but dense fits the budget.
    """
    useful = [pair for pair in front(tried) if pair[1].cost < 1]
    levels: list[Level] = []
    for step in range(1, count + 1):
        fitting = [pair for pair in useful if pair[1].safe_drop <= max_drop * step / count + 1e-12]
        if fitting and (not levels or fitting[0][1].cost < levels[-1].result.cost):
            levels.append(Level(*fitting[0]))
    return levels


def make_plan(
    levels: Sequence[Settings], default_level: int | None = None, patches: Mapping[str, int] | None = None
) -> Plan:
    """The plan with these levels; layers that are dense at all of them stay Conv. The default is the last level."""
    names = list(dict.fromkeys(name for level in levels for name in level))
    used = [name for name in names if any(level[name].hyperplanes for level in levels)]
    return Plan(
        stay_conv={name: NEVER_GAINS for name in names if name not in used},
        levels=tuple({name: level[name] for name in used} for level in levels) if used else (),
        default_level=(len(levels) if default_level is None else default_level) if used else 1,
        patches={name: patch for name, patch in (patches or {}).items() if name in used},
    )
