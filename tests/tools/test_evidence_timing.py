"""Which measurement counts when the machine was not quiet all the time."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tools.evidence.timing import Stopwatch


def _relu() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


class _Session:
    level = 0

    def run(self, _: object) -> None:
        pass


def _measured(
    monkeypatch: pytest.MonkeyPatch, runs: list[tuple[float, float]], fastest: float = math.inf
) -> list[float]:
    """What is kept of runs, each (milliseconds of ours, of stock), one per measurement."""
    monkeypatch.setattr("tools.evidence.timing.native_session", lambda *_: _Session())
    clock = iter(value / 1e3 for pair in runs for value in pair)
    monkeypatch.setattr(Stopwatch, "_seconds", lambda *_: next(clock))
    monkeypatch.setattr("tools.evidence.timing._PAUSE", 0.0)
    stopwatch = Stopwatch(_relu(), {"x": np.zeros((1, 4), np.float32)}, 1, fastest)
    return [numbers["time"] for numbers in stopwatch.measure(_relu(), 2, 1)]


def test_a_measurement_in_which_stock_was_slow_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _measured(monkeypatch, [(8, 10), (14, 11), (9, 10.1)]) == pytest.approx([0.8, 9 / 10.1])


def test_the_calmest_counts_where_none_was_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [(14.0, 11.2), (13.0, 11.0), (14.0, 11.3), (14.0, 11.4), (14.0, 11.2)]
    assert _measured(monkeypatch, [(8, 10), *slow]) == pytest.approx([0.8, 13 / 11])


def test_how_fast_stock_can_be_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _measured(monkeypatch, [(14, 11), (8, 10), (9, 10)], fastest=10.0) == pytest.approx([0.8, 0.9])
