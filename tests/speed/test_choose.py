"""Which layers are chosen when conversions have a price."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haste_export.speed.choose import choose, gain
from haste_export.speed.network import MARGIN, End, Layer, Link, Network


def network(
    haste: list[float], convert: float = 0.0, reorder: float = 0.0, ineligible: frozenset[int] = frozenset()
) -> Network:
    """A chain of layers that take 100 as Conv, and `haste` as HasteConv."""
    layers = [Layer(str(index), index not in ineligible, 100.0, own, own) for index, own in enumerate(haste)]
    links = [Link([End(0, False, convert, reorder)], blockable=False)]
    links += [
        Link([End(index, True, convert, reorder), End(index + 1, False, convert, reorder)])
        for index in range(len(haste) - 1)
    ]
    links.append(Link([End(len(haste) - 1, True, convert, reorder)], others=convert))
    return Network(layers, links)


@pytest.mark.parametrize(
    ("haste", "convert", "chosen"),
    [
        ([50, 50, 50], 0, {0, 1, 2}),
        ([150, 150, 150], 0, set()),
        ([50, 150, 50], 0, {0, 2}),
        ([99, 150, 150], 0, set()),  # within the margin
        ([50, 110, 50], 10, {0, 1, 2}),  # the slower one is cheaper than what it would take to leave it
        ([50, 150, 50], 10, {0, 2}),
        ([80, 80, 80], 15, {0, 1, 2}),  # alone none gains, together they share the conversions
        ([200, 80, 200], 15, set()),
        ([80, 80, 80], 40, set()),
    ],
)
def test_chains(haste: list[float], convert: float, chosen: set[int]) -> None:
    assert choose(network(haste, convert)) == chosen


def test_ineligible_layers_are_never_chosen() -> None:
    assert choose(network([50, 50, 50], ineligible=frozenset({1}))) == {0, 2}


def test_wanted_layers_are_always_chosen() -> None:
    assert choose(network([150, 150, 50]), wanted=frozenset({0})) == {0, 2}
    assert choose(network([50, 150], ineligible=frozenset({1})), wanted=frozenset({1})) == {0}


def test_stocks_own_conversions_count() -> None:
    assert choose(network([150, 90, 150])) == {1}
    assert choose(network([150, 90, 150], reorder=6)) == set()


def test_what_a_join_of_layouts_costs() -> None:
    made = network([80, 80], convert=1)
    for link in made.links:
        link.join = 15.0
    assert choose(made) == {0, 1}  # joins at the ends only
    for link in made.links:
        link.join = 25.0
    assert choose(made) == set()


def test_gain_includes_conversions() -> None:
    alone = network([50], 25)
    assert gain(alone, frozenset(), 0) == pytest.approx(1.0)
    assert gain(network([50]), frozenset(), 0) == pytest.approx(2.0)
    assert gain(network([90, 90, 90], 100), frozenset({0, 1, 2}), 1) == float("inf")


@given(st.lists(st.floats(20, 300), min_size=1, max_size=6), st.floats(0, 60), st.floats(0, 60))
def test_never_worse_than_leaving_everything(haste: list[float], convert: float, reorder: float) -> None:
    made = network(haste, convert, reorder)
    assert made.cost(choose(made)) <= made.cost(frozenset()) + 1e-6


@given(st.lists(st.floats(20, 300), min_size=1, max_size=5), st.floats(0, 60))
def test_close_to_the_best_of_all_choices(haste: list[float], convert: float) -> None:
    made = network(haste, convert)
    places = range(len(haste))
    every = chain.from_iterable(combinations(places, count) for count in range(len(haste) + 1))
    best = min(made.cost(frozenset(choice)) for choice in every)
    assert made.cost(choose(made)) <= best * MARGIN + 1e-6
