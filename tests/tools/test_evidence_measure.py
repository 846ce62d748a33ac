"""Measuring the sample, a little: that nothing is measured twice, and that a document comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from haste_export.data import sample_file, sample_model
from haste_export.plan import LayerSetting
from tests.built import require_library
from tools.evidence import __main__ as command
from tools.evidence import equal
from tools.evidence.measure import Measurement
from tools.evidence.planes import BEST_OF, DRAWN
from tools.evidence.settings import Method, Setting, uniform
from tools.evidence.store import Store
from tools.evidence.tables import RESULTS


@pytest.fixture
def measured(tmp_path: Path) -> Measurement:
    require_library()
    return _measurement(tmp_path)


def _measurement(directory: Path) -> Measurement:
    tune, test = str(sample_file("tune")), str(sample_file("test"))
    return Measurement(sample_model(), test, 32, [0, 1], tune, 16, Store(directory))


def test_nothing_is_measured_twice(measured: Measurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = [Method(), Method("scaled", corrected=True)]
    first = [measured.rows(method, uniform([8, 12])) for method in methods]
    assert [len(row) for row in first[0]] == [2, 2]
    assert first[0][0][0]["FLOPs saved (%)"] > first[0][1][0]["FLOPs saved (%)"]
    assert first[1][0][0]["error"] < first[0][0][0]["error"]
    again = _measurement(tmp_path)
    monkeypatch.setattr(Measurement, "judge", property(lambda _: pytest.fail("judged again")))
    assert [again.rows(method, uniform([8, 12])) for method in methods] == first


def test_layers_are_set_one_by_one_and_can_stay(measured: Measurement) -> None:
    names = measured.layers(Method().options(0))
    alone = Setting("alone", LayerSetting(0), {names[0]: LayerSetting(8)})
    (rows,) = measured.rows(Method(), [alone])
    (whole,) = measured.rows(Method(), uniform([8]))
    assert 0 < rows[0]["FLOPs saved (%)"] < whole[0]["FLOPs saved (%)"]
    assert names[0] not in measured.layers(Method(stay=(names[0],)).options(0))


@pytest.mark.parametrize("kind", [*DRAWN, BEST_OF])
def test_hyperplanes_of_every_kind_are_put_in(measured: Measurement, kind: str) -> None:
    (ours,) = measured.rows(Method(planes=kind), uniform([8]))
    (usual,) = measured.rows(Method(), uniform([8]))
    assert ours[0]["error"] != usual[0]["error"]


def test_the_document_compares_at_equal_cost(measured: Measurement) -> None:
    curves = [
        equal.Curve("mean", Method(), uniform([6, 8])),
        equal.Curve("scaled", Method("scaled"), uniform([6, 8])),
    ]
    text = equal.equal_cost(measured, curves, repeats=3).markdown
    assert "## At equal FLOPs" in text
    assert "| mean: L = 6 |" in text
    assert "without data" in text


def test_a_command_writes_where_it_is_told(
    measured: Measurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.Source, "measurement", lambda _: measured)
    kept = (RESULTS / "patch-sample.md").read_bytes()
    out = tmp_path / "trial"
    options = ["--data", "measured", "--hyperplanes", "8", "--patches", "3,6", "--out"]
    arguments = ["patch", str(sample_model()), *options, str(out)]
    result = CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    assert result.output == f"{out / 'patch-sample.md'}\n"
    assert "| window 8×8 (p = 6), L = 8 |" in (out / "patch-sample.md").read_text()
    assert (out / "patch-sample.json").exists()
    assert (RESULTS / "patch-sample.md").read_bytes() == kept
