"""Groups of things that belong together, found by joining them pair by pair."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import pairwise
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class DisjointSets(Generic[Item]):
    """Sets that only grow; an item that was never joined with another is a set of its own.

    Iterating over them, and `in`, sees the items that were joined.
    """

    def __init__(self) -> None:
        self._parent: dict[Item, Item] = {}

    def root(self, item: Item) -> Item:
        """The item that stands for the set which `item` is in, until the set is joined with another."""
        while (parent := self._parent.get(item, item)) != item:
            # Halves the way that the next search takes.
            self._parent[item] = item = self._parent[parent]
        return item

    def join(self, *items: Item) -> None:
        """Make one set of the sets of these items."""
        for item, other in pairwise(items):
            root = self.root(item)
            self._parent[root] = root
            self._parent[self.root(other)] = root

    def __contains__(self, item: Item) -> bool:
        """Whether the item was ever joined."""
        return item in self._parent

    def __iter__(self) -> Iterator[Item]:
        """Items that were ever joined."""
        return iter(self._parent)
