from __future__ import annotations

import itertools

import numpy as np
import pytest

from haste_export.plan import LayerSetting
from haste_export.tune import allocate
from haste_export.tune.allocate import DENSE, Effect
from haste_export.tune.levels import NEVER_GAINS, choose_levels, front, make_plan
from haste_export.tune.objective import Result

RNG = np.random.default_rng(5)
COUNTS = (6, 10, 14)
EFFECTS = {
    name: [Effect(DENSE, 0, 0), *(Effect(LayerSetting(c), float(RNG.random()) / c**2, 2 / c * weight) for c in COUNTS)]
    for name, weight in [("a", 0.3), ("b", 0.5), ("c", 0.2)]
}


def totals(choice: dict[str, LayerSetting]) -> tuple[float, float]:
    rows = [next(row for row in EFFECTS[name] if row.setting == setting) for name, setting in choice.items()]
    return sum(row.error_squared for row in rows), sum(row.saved for row in rows)


def every_choice() -> list[dict[str, LayerSetting]]:
    rows = itertools.product(*EFFECTS.values())
    return [dict(zip(EFFECTS, (row.setting for row in chosen), strict=True)) for chosen in rows]


@pytest.mark.parametrize("price", [0.0, 1.0, 30.0, 1e4])
def test_a_price_finds_the_best_of_all_choices(price: float) -> None:
    def value(choice: dict[str, LayerSetting]) -> float:
        error, saved = totals(choice)
        return price * error - saved

    assert value(allocate.choose(EFFECTS, price)) == pytest.approx(min(map(value, every_choice())))


@pytest.mark.parametrize("wanted", [0.05, 0.12, 0.2])
def test_reach_saves_enough(wanted: float) -> None:
    choice = allocate.reach(EFFECTS, wanted)
    error, saved = totals(choice)
    assert saved == pytest.approx(allocate.saved(EFFECTS, choice))
    assert saved >= wanted
    assert all(totals(other)[0] >= error for other in every_choice() if totals(other)[1] >= saved)


def test_reach_gives_the_most_when_it_is_not_enough() -> None:
    best = max(totals(choice)[1] for choice in every_choice())
    assert totals(allocate.reach(EFFECTS, 0.99))[1] == pytest.approx(best)


def test_the_hull_holds_distinct_points_from_cheap_to_exact() -> None:
    points = allocate.hull(EFFECTS, 4)
    savings = [totals(point)[1] for point in points]
    assert 2 <= len(points) <= 4
    assert len({tuple(sorted((k, v.hyperplanes) for k, v in point.items())) for point in points}) == len(points)
    assert max(savings) == pytest.approx(max(totals(choice)[1] for choice in every_choice()))


def test_halfway_closes_in_on_the_border_between_what_fits_and_what_does_not() -> None:
    hull = allocate.hull(EFFECTS, 1000)
    border = sorted(allocate.saved(EFFECTS, point) for point in hull)[len(hull) // 2]
    fits, fails = [hull[-1]], [hull[0]]
    for _ in range(len(hull)):
        point = allocate.halfway(EFFECTS, fits, fails)
        if point is None:
            break
        assert point not in fits + fails
        (fits if allocate.saved(EFFECTS, point) <= border else fails).append(point)
    assert max(allocate.saved(EFFECTS, point) for point in fits) == pytest.approx(border)
    assert allocate.halfway(EFFECTS, fits, []) is None, "everything fits"


def result(cost: float, drop: float, error: float = 0.0) -> Result:
    return Result(cost, drop, drop, error, 0.0, 1 - cost)


def tried(*pairs: tuple[float, float]) -> list[tuple[dict[str, LayerSetting], Result]]:
    return [({"a": LayerSetting(index + 1)}, result(*pair)) for index, pair in enumerate(pairs)]


def test_the_front_drops_what_is_beaten() -> None:
    points = tried((0.5, 0.03), (0.6, 0.01), (0.7, 0.02), (0.6, 0.02), (0.9, 0.0))
    assert [(r.cost, r.drop) for _, r in front(points)] == [(0.5, 0.03), (0.6, 0.01), (0.9, 0.0)]


def test_levels_stay_within_the_budget_and_grow_cheaper() -> None:
    levels = choose_levels(tried((0.5, 0.03), (0.6, 0.01), (0.9, 0.001), (1.2, 0.0)), 0.012, 3)
    assert [level.result.cost for level in levels] == [0.9, 0.6]


def test_chance_counts_against_the_budget() -> None:
    lucky = [({"a": LayerSetting(1)}, result(0.5, 0.009, error=0.004))]
    assert choose_levels(lucky, 0.012, 1) == []
    assert len(choose_levels(lucky, 0.013, 1)) == 1


def test_a_layer_that_is_dense_everywhere_stays_conv() -> None:
    plan = make_plan([{"a": LayerSetting(9), "b": DENSE}, {"a": LayerSetting(7), "b": DENSE}])
    assert plan.stay_conv == {"b": NEVER_GAINS}
    assert plan.levels == ({"a": LayerSetting(9)}, {"a": LayerSetting(7)})
    assert plan.default_level == 2
