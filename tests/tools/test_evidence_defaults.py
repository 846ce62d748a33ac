"""The table of the defaults: that it is about what haste-export makes, and that numbers can be taken in two goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from haste_export import compress
from haste_export.data import sample_file, sample_model
from haste_export.evaluate.models import load_whole
from haste_export.evaluate.stats import haste_convs
from haste_export.options import Options
from tests.built import require_library
from tools.evidence import __main__ as command
from tools.evidence.defaults import default_curves, selection
from tools.evidence.measure import Measurement
from tools.evidence.settings import Method
from tools.evidence.store import Store


@pytest.fixture
def measured(tmp_path: Path) -> Measurement:
    require_library()
    tune, test = str(sample_file("tune")), str(sample_file("test"))
    return Measurement(sample_model(), test, 16, [0], tune, 16, Store(tmp_path))


def test_the_first_curve_is_what_the_compiler_makes_by_itself(measured: Measurement) -> None:
    first = next(default_curves(measured, Options.sparsity, [8]))
    ours = haste_convs(measured.compressed(first.method, first.settings, 0))
    usual = haste_convs(compress(load_whole(sample_model())))
    assert [node.name for node in ours] == [node.name for node in usual]
    assert [node.attribute for node in ours] == [node.attribute for node in usual]


def test_what_the_cost_model_leaves_stays_and_is_also_measured_compressed(
    measured: Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = measured.layers(Method().options(0))[-1]
    monkeypatch.setattr(measured, "left_alone", lambda method: (last,) if method.patch == 3 else ())
    curves = {curve.name: curve for curve in default_curves(measured, 0.5, [8])}
    assert [name for name in curves if "every layer" in name] == ["scaled, patch 3, every layer"]
    assert last not in measured.layers(curves["mean, patch 3, corrected"].method.options(0))
    assert last in measured.layers(curves["scaled, patch 3, every layer"].method.options(0))
    head = selection(measured, list(curves.values()))["layers compressed"]
    assert "6 (scaled, patch auto), 5 (scaled, patch 3)" in head


def test_layers_that_are_predicted_to_lose_are_left_alone(measured: Measurement) -> None:
    report = compress(load_whole(sample_model()), patch=3, merge="mean")
    rewritten = {node.name for node in haste_convs(report)}
    method = Method("mean", Options.sparsity, 3)
    assert set(measured.layers(method.options(0))) - set(measured.left_alone(method)) == rewritten


def test_judging_comes_first_and_the_clock_later(
    measured: Measurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.Source, "measurement", lambda _: measured)
    out = tmp_path / "trial"
    data = ["--data", "measured", "--calibrate", "measured", "--hyperplanes", "8", "--repeats", "1"]
    arguments = ["defaults", str(sample_model()), *data, "--out", str(out)]
    assert CliRunner().invoke(command.main, [*arguments, "--only", "judge"], catch_exceptions=False).output == ""
    assert not out.exists()
    assert CliRunner().invoke(command.main, [*arguments, "--only", "time"], catch_exceptions=False).output == ""
    monkeypatch.setattr(Measurement, "_judge", lambda *_: pytest.fail("judged again"))
    monkeypatch.setattr(Measurement, "_stopwatch", property(lambda _: pytest.fail("timed again")))
    CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    text = (out / "defaults-sample.md").read_text()
    assert "| scaled, patch auto: dense | 0.000 | 100.00 |" in text
    assert "| mean, patch 3, corrected: L = 8 |" in text
