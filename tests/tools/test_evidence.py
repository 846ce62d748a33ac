"""The arithmetic of the evidence: what is kept, interpolated and drawn; not what it says about any model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from haste_export.plan import LayerSetting
from tools.evidence.equal import LOSS, SAVED, TIME, Curve, Measured
from tools.evidence.planes import DRAWN, Planes
from tools.evidence.settings import Method, Setting, from_plan, uniform
from tools.evidence.store import Store
from tools.evidence.tables import Table, cell


def test_a_store_finds_again_what_another_process_wrote(tmp_path: Path) -> None:
    Store(tmp_path).put({"L": 8, "model": "m"}, {"r": 0.5})
    with (tmp_path / "points.jsonl").open("a") as file:
        file.write('{"key": {"L": 9}, "numb')
    again = Store(tmp_path)
    assert again.get({"model": "m", "L": 8}) == {"r": 0.5}
    assert again.get({"L": 9}) is None


def test_methods_that_differ_have_different_keys() -> None:
    methods = [
        Method(),
        Method("scaled"),
        Method(sparsity=0.1),
        Method(patch=5),
        Method(patch="auto"),
        Method(patch="auto", patches=(("a", 6),)),
        Method(corrected=True),
        Method(stay=("a",)),
        Method(planes="orthogonal"),
    ]
    assert len({str(method.key()) for method in methods}) == len(methods)


def test_a_plan_becomes_settings(tmp_path: Path) -> None:
    plan = tmp_path / "p.toml"
    plan.write_text(
        '[options]\nmerge = "mean"\n[stay_conv]\n"c" = "slow"\n[hyperplanes]\n"a" = [8, 6]\n[tau]\n"a" = [0.0, 0.1]\n'
    )
    method, (first, second) = from_plan(plan)
    assert (method.merge, method.stay) == ("mean", ("c",))
    assert first.level(["a", "b"]) == {"a": LayerSetting(8), "b": LayerSetting(0)}
    assert not first.bounded
    assert second.bounded


def _measured(points: list[tuple[float, float]], times: list[float]) -> Measured:
    settings = [Setting(str(place), LayerSetting(1)) for place in range(len(points))]
    rows = [[{SAVED: saved, LOSS: loss}] for saved, loss in points]
    return Measured(Curve("c", Method(), settings), rows, times)


def test_loss_at_a_cost_is_linear_between_points_and_never_more_than_a_cheaper_point_loses() -> None:
    curve = _measured([(50, 4.0), (40, 2.0), (30, 3.0)], [0.6, 0.7, 0.8])
    assert curve.loss_at(SAVED, 0.55, 0) == pytest.approx(3.0)
    assert curve.loss_at(TIME, 0.65, 0) == pytest.approx(3.0)
    assert curve.loss_at(SAVED, 0.70, 0) == pytest.approx(2.0)
    assert curve.loss_at(SAVED, 0.95, 0) == pytest.approx(2.0)
    assert curve.loss_at(SAVED, 0.45, 0) is None


def _rows(kind: str) -> Planes:
    return DRAWN[kind]("layer", 20, 25, 2 / 3, 3)


@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_drawn_hyperplanes_are_ternary_with_the_wanted_share_of_zeros(kind: str) -> None:
    rows = _rows(kind)
    assert rows.shape == (20, 25)
    assert rows.dtype == np.int8
    assert set(np.unique(rows)) == {-1, 0, 1}
    assert np.abs((rows == 0).mean() - 2 / 3) < 0.03
    np.testing.assert_array_equal(rows, _rows(kind))


def test_each_kind_of_hyperplanes_has_its_property() -> None:
    assert not _rows("zero sum").sum(1).any()
    used = (_rows("even cover") != 0).sum(0)
    assert used.max() - used.min() <= 1
    first = _rows("orthogonal")[:8].astype(int)
    overlap = np.abs(first @ first.T - np.diag((first**2).sum(1)))
    assert overlap.max() <= 2


def test_a_table_says_mean_and_deviation(tmp_path: Path) -> None:
    table = Table("t", "Title", {"data": "none"})
    table.add("a", {"r": 1.0})
    table.add("a", {"r": 2.0})
    text = table.document().write(tmp_path).read_text()
    assert "| a | 1.50 ± 0.50 |" in text
    assert cell([0.1234]) == "0.123"
    assert [setting.name for setting in uniform([8], 0.05)] == ["L = 8, τ = 0.05"]
