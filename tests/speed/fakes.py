"""Models whose layers gain or not, and a clock that says so without measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from haste_export.bench.inputs import Feeds
from haste_export.contract import CONV, DOMAIN, NCHW, REORDER
from tests.exporter.models import attributes, filters, text_model

CHAIN = """
[first] c0 = Conv <pads = [1,1,1,1]> (x, w)
r0 = Relu (c0)
[a] c1 = Conv <pads = [1,1,1,1]> (r0, w)
r1 = Relu (c1)
[b] c2 = Conv <pads = [1,1,1,1]> (r1, w)
r2 = Relu (c2)
[c] y = Conv <pads = [1,1,1,1]> (r2, w)
"""


def chain() -> onnx.ModelProto:
    """Four convolutions 16 -> 16 in a row, the first of which is never rewritten."""
    return text_model(CHAIN, {"w": filters(16, 16, 3, 3)})


@dataclass
class FakeTimer:
    """A clock: a HasteConv takes what `haste` says (1 by default), a Conv takes 1, a conversion `convert`."""

    haste: Mapping[str, float] = field(default_factory=dict)
    convert: float = 0.0
    whole: float = 0.0
    calls: list[list[list[str]]] = field(default_factory=list)
    feeds: list[Feeds] = field(default_factory=list)

    def __call__(self, models: Sequence[onnx.ModelProto], feeds: Feeds, seconds: float) -> list[np.ndarray]:
        self.calls.append([[node.name for node in _hastes(model)] for model in models])
        self.feeds.append(feeds)
        return [np.full(3, self._milliseconds(model)) for model in models]

    def _milliseconds(self, model: onnx.ModelProto) -> float:
        convs = [node for node in model.graph.node if node.op_type == "Conv"]
        hastes = _hastes(model)
        layouts = [attributes(node)[end] for node in hastes for end in ("x_layout", "y_layout")]
        conversions: int = layouts.count(NCHW) + sum(node.op_type == REORDER for node in model.graph.node)
        # Lone layers pay no conversions: chains are what these tests are about.
        price = self.convert if len(convs) + len(hastes) > 1 else 0.0
        own = sum(self.haste.get(node.name, 1.0) for node in hastes)
        return len(convs) + own + price * conversions + (self.whole if hastes and price else 0.0)


def _hastes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == CONV and node.domain == DOMAIN]
