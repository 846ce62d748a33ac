"""Chooses the convolutions that become HasteConv so that the predicted time of the whole model is least."""

from __future__ import annotations

from collections import defaultdict

from haste_export.speed.network import Link, Network


def choose(network: Network, wanted: frozenset[int] = frozenset()) -> frozenset[int]:
    """Indices of the layers to rewrite; those in `wanted` are rewritten whatever they cost.

    A HasteConv alone pays for conversions that a chain of them shares, so one layer at a time is not enough: the search
    begins with every layer, with none and with those that gain by themselves, and moves by layers and by whole chains.
    """
    eligible = frozenset(index for index, layer in enumerate(network.layers) if layer.eligible)
    wanted &= eligible
    search = _Search(network, eligible - wanted)
    layers = network.layers
    alone = frozenset(index for index in eligible if layers[index].haste * layers[index].margin < layers[index].stock)
    found = [search.improve(set(start)) for start in (eligible, alone | wanted, wanted)]
    return min(found, key=lambda chosen: (search.cost(chosen), len(chosen)))


def gain(network: Network, chosen: frozenset[int], layer: int) -> float:
    """How many times faster the layer is as HasteConv than as Conv, the conversions it adds or saves included.

    The other layers are as in `chosen`. Infinite if it saves more conversions than it takes time itself.
    """
    saved = network.cost(chosen - {layer}) - network.cost(chosen | {layer})
    stock = network.layers[layer].stock
    return stock / (stock - saved) if saved < stock else float("inf")


class _Search:
    """Descent by flips of a layer and of chains of layers."""

    def __init__(self, network: Network, free: frozenset[int]) -> None:
        self._network = network
        self._free = free
        self._links: dict[int, list[Link]] = defaultdict(list)
        for link in network.links:
            for layer in {end.layer for end in link.ends}:
                self._links[layer].append(link)

    def cost(self, chosen: frozenset[int] | set[int]) -> float:
        """Cost of the network in which every HasteConv must be faster by the margin."""
        layers = self._network.layers
        return self._network.cost(chosen) + sum((layers[index].margin - 1) * layers[index].haste for index in chosen)

    def improve(self, chosen: set[int]) -> frozenset[int]:
        """Flip what helps until nothing does."""
        while True:
            moved = False
            for index in sorted(self._free):
                if self._flip_cost(chosen, index) < 0:
                    chosen ^= {index}
                    moved = True
            before = self.cost(chosen)
            chains, gaps = self._network.components(chosen & self._free), self._network.components(self._free - chosen)
            for group in (*chains, *gaps):
                if self.cost(chosen ^ group) < before:
                    chosen = chosen ^ group
                    before, moved = self.cost(chosen), True
            if not moved:
                return frozenset(chosen)

    def _flip_cost(self, chosen: set[int], index: int) -> float:
        """By how much the cost changes if the layer changes sides."""
        layer, flipped = self._network.layers[index], chosen ^ {index}
        own = layer.haste * layer.margin - layer.stock
        links = sum(link.cost(flipped) - link.cost(chosen) for link in self._links[index])
        return (-own if index in chosen else own) + links
