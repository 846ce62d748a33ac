from hypothesis import given
from hypothesis import strategies as st

from haste_export.disjoint_sets import DisjointSets

ITEMS = st.integers(0, 9)


@given(st.lists(st.lists(ITEMS, max_size=4)))
def test_two_items_share_a_root_exactly_if_joins_connect_them(joins: list[list[int]]) -> None:
    sets = DisjointSets[int]()
    naive = [{item} for item in range(10)]
    for items in joins:
        sets.join(*items)
        united = {item for own in naive if own & set(items) for item in own}
        naive = [own for own in naive if not own & united] + [united]
    for own in filter(None, naive):
        assert {sets.root(item) for item in own} == {sets.root(min(own))}
        assert sets.root(min(own)) in own
    joined = {item for items in joins if len(items) > 1 for item in items}
    assert set(sets) == joined
    assert all((item in sets) == (item in joined) for item in range(10))


def test_a_long_chain() -> None:
    sets = DisjointSets[int]()
    for item in range(100_000):
        sets.join(item + 1, item)
    assert sets.root(0) == sets.root(50_000) == 100_000
