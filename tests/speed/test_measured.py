"""The selection by the clock, with a clock that does not measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from haste_export import compress_with_report
from haste_export.bench.inputs import Feeds
from haste_export.errors import HasteError
from haste_export.plan import LayerSetting, Plan
from haste_export.report import Report
from haste_export.speed.timing import SessionTimer, Timing, speedup
from tests.exporter.models import attributes, filters, haste_convs, text_model
from tests.speed.fakes import FakeTimer, chain, is_dense

GAINS = {"a": 0.5, "b": 0.5, "c": 0.5}


def selected(timer: FakeTimer, **options: Any) -> tuple[object, Report]:
    return compress_with_report(chain(), select="measured", timing=Timing(timer=timer), **options)


def names(report: Report) -> list[str]:
    return [layer.name for layer in report.rewritten]


def test_layers_that_gain() -> None:
    _, report = selected(FakeTimer(GAINS))
    assert names(report) == ["a", "b", "c"]
    speed = report.layer("a").speed
    assert speed is not None
    assert (speed.source, speed.stock_ms, speed.haste_ms) == ("measured", 1.0, 0.5)
    assert report.speed is not None
    assert (report.speed.stock_ms, report.speed.haste_ms, report.speed.unchanged) == (4.0, 2.5, False)
    assert report.speed.speedup == pytest.approx(1.6)


def test_layers_that_do_not_gain_stay() -> None:
    _, report = selected(FakeTimer({**GAINS, "b": 1.5}))
    assert names(report) == ["a", "c"]
    assert report.layer("b").reason == "it does not gain: 1.50 ms as HasteConv, 1.00 ms as Conv"


def test_a_slow_link_of_a_chain_is_rewritten_where_that_saves_conversions() -> None:
    _, report = selected(FakeTimer({**GAINS, "b": 1.1}, convert=0.1))
    assert names(report) == ["a", "b", "c"]


def test_a_chain_that_costs_more_than_it_saves_is_dropped() -> None:
    _, report = selected(FakeTimer({"a": 0.3, "b": 5.0, "c": 0.9}, convert=0.15))
    assert names(report) == ["a"]
    assert report.layer("c").reason == (
        "it gains alone (0.90 ms as HasteConv, 1.00 ms as Conv), and the model as a whole does not gain by it"
    )


@pytest.mark.parametrize(
    "timer", [FakeTimer(dict.fromkeys("abc", 2.0)), FakeTimer(dict.fromkeys("abc", 0.99)), FakeTimer(GAINS, 0.01, 9.0)]
)
def test_nothing_gets_faster(timer: FakeTimer) -> None:
    small, report = selected(timer)
    assert small == chain()
    assert not report.rewritten
    assert report.speed is not None
    assert report.speed.unchanged
    assert all(layer.reason for layer in report.layers)
    assert report.to_json()["speed"]["unchanged"] is True
    assert report.dense is None


@pytest.mark.parametrize(("dense", "ratio"), [(0.5, 1.0), (0.7, 1.24), (0.4, 0.88), (0.52, 1.024)])
def test_dense_mode_is_timed_beside_the_result(dense: float, ratio: float) -> None:
    """The model takes 2.5 at L = 14; in dense mode 1 and what its layers take."""
    timer = FakeTimer(GAINS, dense=dict.fromkeys("abc", dense))
    small, report = selected(timer)
    assert timer.calls[-1] == [[], ["a", "b", "c"], ["a", "b", "c"]]
    assert report.dense is not None
    assert (report.dense.source, report.dense.haste_ms, report.dense.pays) == ("measured", 2.5, dense == 0.7)
    assert report.dense.speedup == pytest.approx(ratio)
    assert report.to_json()["dense"]["dense_ms"] == pytest.approx(2.5 * ratio)
    assert isinstance(small, onnx.ModelProto)
    assert not is_dense(small)


@pytest.mark.parametrize(
    "options", [{"hyperplanes": 0}, {"plan": Plan(levels=({"a": LayerSetting(9), "b": LayerSetting(0)},))}]
)
def test_dense_mode_is_not_compared_with_itself_or_with_levels(options: dict[str, Any]) -> None:
    timer = FakeTimer(GAINS)
    _, report = selected(timer, **options)
    assert timer.calls[-1] == [[], ["a", "b", "c"]]
    assert report.dense is None
    assert report.to_json()["dense"] is None


def test_layers_get_their_own_input() -> None:
    timer = FakeTimer(GAINS)
    selected(timer)
    lone = [(feeds, call) for feeds, call in zip(timer.feeds, timer.calls, strict=True) if set(feeds) != {"x"}]
    assert [set(feeds) for feeds, _ in lone] == [{"r0"}, {"r1"}, {"r2"}]
    assert [call for _, call in lone] == [[[], ["a"]], [[], ["b"]], [[], ["c"]]]
    assert all(array.min() >= 0 for feeds, _ in lone for array in feeds.values())  # behind a Relu


def test_layers_are_timed_with_the_patch_that_they_get(tmp_path: Path) -> None:
    """A layer that is cut out has static sizes, the model has none."""
    found: dict[str, set[int]] = {}

    class Timer(FakeTimer):
        def __call__(self, models: Sequence[onnx.ModelProto], feeds: Feeds, seconds: float) -> list[np.ndarray]:
            for node in (node for model in models for node in haste_convs(model)):
                found.setdefault(node.name, set()).add(attributes(node)["patch"])
            return super().__call__(models, feeds, seconds)

    model = chain()
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
        dim.dim_param = name
    np.save(tmp_path / "x.npy", np.zeros((1, 16, 15, 15), np.float32))
    timing = Timing(input_file=tmp_path / "x.npy", timer=Timer(GAINS))
    compress_with_report(model, select="measured", timing=timing)
    assert found == {"a": {7}, "b": {7}, "c": {7}}


def test_no_layer_qualifies() -> None:
    timer = FakeTimer()
    _, report = selected(timer, skip_first=9)
    assert report.speed is None
    assert timer.calls == []


def test_input_from_a_file(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((1, 16, 9, 8), np.float32)
    np.save(tmp_path / "x.npy", x)
    timer = FakeTimer(GAINS)
    _, report = compress_with_report(
        chain(), select="measured", timing=Timing(input_file=tmp_path / "x.npy", timer=timer)
    )
    assert np.array_equal(timer.feeds[-1]["x"], x)
    assert report.speed is not None
    assert report.speed.input == str(tmp_path / "x.npy")


def test_layers_in_branches_stay() -> None:
    body = """
    k = Constant <value_int = 0> ()
    t = Cast <to = 9> (k)
    z = If (t) <then_branch = g1 () => (a) { [inner] a = Conv <pads = [1,1,1,1]> (x, w) },
                else_branch = g2 () => (b) { b = Identity (x) }>
    [outer] y = Conv <pads = [1,1,1,1]> (z, w)
    """
    model = text_model(body, {"w": filters(16, 16, 3, 3)})
    timer = FakeTimer({"outer": 0.5})
    _, report = compress_with_report(model, select="measured", skip_first=0, timing=Timing(timer=timer))
    assert names(report) == ["outer"]
    assert "branch" in str(report.layer("inner").reason)


def test_a_model_that_breaks_the_rules_is_refused() -> None:
    model = chain()
    model.graph.initializer[0].dims[:] = [16, 16, 3, 4]
    with pytest.raises(HasteError):
        compress_with_report(model, select="measured", timing=Timing(timer=FakeTimer()))


def test_progress_is_told() -> None:
    told: list[tuple[str, int]] = []
    timing = Timing(timer=FakeTimer(GAINS), progress=lambda what, left: told.append((what, left)))
    compress_with_report(chain(), select="measured", timing=timing)
    assert [what for what, _ in told][:4] == ["a", "b", "c", "the whole model"]
    assert all(left >= 1 for _, left in told)


def test_speedup_is_the_median_of_turns() -> None:
    """One disturbed turn does not count, nor does a slow time of the machine that hits both."""
    assert speedup(np.array([2.0, 20.0, 2.0]), np.array([1.0, 10.0, 9.0])) == 2.0


def test_sessions_take_turns() -> None:
    """Only that they run and are told apart; how long they take is nothing for a test."""
    model = chain()
    times = SessionTimer(1)([model, model], {"x": np.zeros((1, 16, 9, 8), np.float32)}, 0.0)
    assert len(times) == 2
    assert len(times[0]) == len(times[1]) >= 7
