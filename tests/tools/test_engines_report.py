from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tools.engines import machine, report
from tools.engines.adapters.base import Outputs
from tools.engines.interleave import Point
from tools.engines.report import Table, markdown
from tools.engines.results import Row, relative_error, summarise
from tools.engines.worker import Sample


def _outputs(scores: list[float], features: list[float]) -> Outputs:
    return [np.array([scores], np.float32), np.array(features, np.float32).reshape(1, 1, 1, -1)]


def _unused(_index: int, _warm_ups: int) -> Sample:
    raise AssertionError


REFERENCE = {0: _outputs([1, 0], [3, 4]), 1: _outputs([0, 1], [3, 4])}


def test_a_row_compares_with_the_baseline_photograph_by_photograph() -> None:
    samples = [
        (0, Sample(0.010, 0.020, _outputs([1, 0], [3, 4]))),
        (1, Sample(0.030, 0.030, _outputs([1, 0], [3, 4.5]))),
        (0, Sample(0.020, 0.040, _outputs([9, 9], [9, 9]))),  # a repeated photograph counts once
        (2, Sample(0.020, 0.040, _outputs([9, 9], [9, 9]))),  # one that the baseline never saw does not count
    ]
    row = summarise(Point("x", _unused, samples), "x", "x 1", 2.0, REFERENCE, baseline=40.0)
    assert (row.median, row.first_quartile, row.third_quartile) == pytest.approx((20, 17.5, 22.5))
    assert row.speedup == pytest.approx(2)
    assert row.cores == pytest.approx(2)
    assert (row.runs, row.inputs, row.top1) == (4, 2, 1)
    assert row.feature_error == pytest.approx((0 + 0.5 / 5) / 2)
    assert row.score_error == pytest.approx(math.sqrt(2) / 2)


def test_a_point_without_samples_keeps_its_reason() -> None:
    row = summarise(Point("x", _unused, [], "no memory"), "x", "x 1", 2.0, REFERENCE, baseline=40.0)
    assert (row.failure, row.median, row.runs) == ("no memory", None, 0)


@pytest.mark.parametrize(
    ("value", "reference", "expected"),
    [
        ([[3.0, 4.0]], [3.0, 4.0], 0.0),
        ([3.0, 9.0], [3.0, 4.0], 1.0),
        ([3.0], [3.0, 4.0], math.inf),
        ([3.0, math.nan], [3.0, 4.0], math.inf),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, 0.0], [0.0, 0.0], math.inf),
    ],
)
def test_relative_error(value: list[float], reference: list[float], expected: float) -> None:
    assert relative_error(np.array(value, np.float32), np.array(reference, np.float32)) == pytest.approx(expected)


def _row(label: str, engine: str, median: float, error: float) -> Row:
    return Row(label, engine, "1", None, 5, median, median * 0.9, median * 1.1, 100 / median, 1.0, 5, error, error, 4)


TABLE = Table(
    2,
    [
        _row("ONNX Runtime f32", "onnxruntime-f32", 100, 0.0),
        _row("haste L=14", "haste", 50, 0.25),
        _row("haste L=20", "haste", 70, 0.125),
        Row("ncnn-f32", "ncnn-f32", failure="pnnx failed with exit code 1"),
    ],
    (0.1, 1.0),
)


def test_the_table_shows_every_engine_that_ran_and_says_why_the_others_did_not() -> None:
    page = markdown("m", {"processor": "p"}, [TABLE])
    assert "## 2 threads" in page
    assert "| ONNX Runtime f32 | 100.0 | 90.0-110.0 | 1.00 | 1.00 | 5 | 0 | 0 | 4/5 |" in page
    assert "| haste L=14 | 50.0 | 45.0-55.0 | 2.00 | 1.00 | 5 | 0.25 | 0.25 | 4/5 |" in page
    assert "* **ncnn-f32**: pnnx failed with exit code 1" in page
    widths = {line.count("|") for line in page.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_everything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, data, picture = report.write(tmp_path / "new" / "folder", "m", {"processor": "p"}, [TABLE])
    assert page.read_text(encoding="utf-8").startswith("# m\n")
    content = json.loads(data.read_text(encoding="utf-8"))
    assert [row["label"] for row in content["tables"][0]["rows"]] == [row.label for row in TABLE.rows]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_other_programs_at_work_are_counted() -> None:
    busy = machine.busy_cores(0.2)
    assert busy >= 0


def test_a_quiet_machine_gives_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    machine.warn_if_busy(0.05)
    assert capsys.readouterr().err == ""
    machine.warn_if_busy(0.7)
    assert "0.7 cores" in capsys.readouterr().err
