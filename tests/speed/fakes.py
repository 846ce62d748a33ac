"""Models whose layers gain or not, and a clock that says so without measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from haste_export.bench.inputs import Feeds
from haste_export.contract import CONV, DOMAIN, NCHW, REORDER, STEERING_HYPERPLANES
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


def wide_chain() -> onnx.ModelProto:
    """The same with 128 channels on 28x28, where hashing gains a lot at a small L and nothing at a large one."""
    return text_model(CHAIN, {"w": filters(128, 128, 3, 3)}, inputs="float[1,128,28,28] x")


@dataclass
class FakeTimer:
    """A clock: a HasteConv takes what `haste` says (1 by default), a Conv takes 1, a conversion `convert`.

    Where `dense` is given, it has what HasteConvs take in a model whose default is dense mode.
    """

    haste: Mapping[str, float] = field(default_factory=dict)
    convert: float = 0.0
    whole: float = 0.0
    dense: Mapping[str, float] | None = None
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
        taken = self.dense if self.dense is not None and is_dense(model) else self.haste
        own = sum(taken.get(node.name, 1.0) for node in hastes)
        return len(convs) + own + price * conversions + (self.whole if hastes and price else 0.0)


def is_dense(model: onnx.ModelProto) -> bool:
    """Whether the default of the steering input is dense mode."""
    defaults = [init for init in model.graph.initializer if init.name == STEERING_HYPERPLANES]
    return any(numpy_helper.to_array(default) == 0 for default in defaults)


def _hastes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == CONV and node.domain == DOMAIN]
