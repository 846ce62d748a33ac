from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from haste_export.cli.eval import command as eval_command
from haste_export.cli.export import command as export_command
from haste_export.cli.tune import command
from haste_export.data import sample_file, sample_model
from haste_export.evaluate.stats import patches
from haste_export.plan_file import read_plan
from haste_export.tune.data_free import synthetic_images
from runtime_ops import Session
from tests.built import require_library


@pytest.fixture(autouse=True)
def _library() -> None:
    require_library()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    copy = tmp_path / "sample.onnx"
    copy.write_bytes(sample_model().read_bytes())
    return copy


def tune(model: Path, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(model), *map(str, arguments)])


QUICK = ("--data", sample_file("tune"), "--limit", 64, "--hyperplanes", "8,12", "--batch", 32, "--threads", 1)


def test_a_plan_within_the_budget_that_the_exporter_takes(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "levels.onnx"
    budget = ("--max-drop", 0.1, "--trials", 10, "--levels", 2)
    first = tune(model, *QUICK, *budget, "--export", out, "--json", tmp_path / "a.json")
    assert first.exit_code == 0, first.output
    document = json.loads((tmp_path / "a.json").read_text())
    assert all(level["drop"] + level["drop_error"] <= 0.1 for level in document["levels"])
    plan = read_plan(model.with_suffix(".plan.toml"))
    assert len(plan.plan.levels) == len(document["levels"])
    assert (plan.options["patch"], plan.plan.patches) == ("auto", patches(onnx.load(out)))

    again = CliRunner().invoke(
        export_command, [str(model), str(tmp_path / "b.onnx"), "--plan", str(model.with_suffix(".plan.toml"))]
    )
    assert again.exit_code == 0, again.output
    x = np.random.default_rng(0).standard_normal((1, 1, 28, 28), np.float32)
    ours, theirs = (Session(path) for path in (out, tmp_path / "b.onnx"))
    for level in range(len(plan.plan.levels) + 1):
        ours.level = theirs.level = level
        np.testing.assert_array_equal(ours.run(x)[0], theirs.run(x)[0])


def test_a_corrected_search_exports_what_it_judged(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "corrected.onnx"
    budget = ("--max-drop", 0.1, "--trials", 6, "--levels", 1, "--correct", "--storage", tmp_path / "journal")
    found = tune(model, *QUICK, *budget, "--export", out, "--json", tmp_path / "a.json")
    assert found.exit_code == 0, found.output
    (level,) = json.loads((tmp_path / "a.json").read_text())["levels"]
    judged = CliRunner().invoke(
        eval_command,
        [str(out), "--data", str(sample_file("tune")), "--limit", "64", "--hyperplanes", "1", "--json", "-"],
    )
    assert judged.exit_code == 0, judged.output
    (point,) = json.loads(judged.output)["points"]
    assert point["error"] == pytest.approx(level["error"], rel=1e-4)
    assert "loses more" in model.with_suffix(".plan.toml").read_text()

    plain = tune(model, *QUICK, *budget[:6], "--storage", tmp_path / "journal", "--json", tmp_path / "b.json")
    assert plain.exit_code == 0, plain.output
    (other,) = json.loads((tmp_path / "b.json").read_text())["levels"]
    assert other["error"] != level["error"], "one journal keeps both searches apart"


def test_a_model_of_fixed_batch_size(model: Path, tmp_path: Path) -> None:
    """128 samples for a layer's own effect, and those for the correction, are no multiple of 48."""
    pytest.importorskip("optuna")
    fixed = onnx.load(str(model))
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 48
    onnx.save(fixed, str(model))
    files = ("--storage", tmp_path / "journal", "--export", tmp_path / "out.onnx")
    few = ("--data", sample_file("tune"), "--limit", 144, "--hyperplanes", "12", "--threads", 1, "--trials", 2)
    result = tune(model, *few, "--max-drop", 0.2, "--levels", 1, "--correct", *files)
    assert result.exit_code == 0, result.output


def test_a_stopped_search_goes_on(model: Path) -> None:
    pytest.importorskip("optuna")
    budget = ("--max-drop", 0.2)
    assert tune(model, *QUICK, *budget, "--trials", 3).exit_code == 0
    journal = model.with_name("sample.onnx.tune.journal")
    size = journal.stat().st_size
    assert tune(model, *QUICK, *budget, "--trials", 3).exit_code == 0
    assert journal.stat().st_size - size < size / 4, "nothing is measured again"
    assert tune(model, *QUICK, *budget, "--trials", 5).exit_code == 0


def test_a_budget_that_nothing_meets_ends_with_1(model: Path) -> None:
    pytest.importorskip("optuna")
    result = tune(model, *QUICK, "--max-drop", 0, "--hyperplanes", "1", "--trials", 2)
    assert result.exit_code == 1
    assert "allow more" in result.output


def test_data_free_reaches_the_reductions_and_admits_what_it_does_not_know(model: Path, tmp_path: Path) -> None:
    result = tune(
        model, "--data-free", "--reductions", "0.15,0.3", "--hyperplanes", "6,8,10,14", "-o", tmp_path / "p.toml"
    )
    assert result.exit_code == 0, result.output
    assert "Accuracy is unknown" in result.output
    text = (tmp_path / "p.toml").read_text()
    assert "What it costs in accuracy is unknown" in text
    plan = read_plan(tmp_path / "p.toml")
    levels = plan.plan.levels
    assert plan.options["patch"] == "auto"
    assert set(plan.plan.patches) == set(levels[0])
    assert set(plan.plan.patches.values()) == {6, 7}, "maps of 6 and of 14 pixels"
    assert len(levels) == 2
    averages = [np.mean([setting.hyperplanes or 32 for setting in level.values()]) for level in levels]
    assert averages[1] < averages[0]


def test_a_plan_with_one_patch_says_so_once(model: Path, tmp_path: Path) -> None:
    few = ("--reductions", "0.2", "--hyperplanes", "8,12", "--patch", 3)
    result = tune(model, "--data-free", *few, "-o", tmp_path / "p.toml")
    assert result.exit_code == 0, result.output
    plan = read_plan(tmp_path / "p.toml")
    assert (plan.options["patch"], plan.plan.patches) == (3, {})


def test_usage_errors(model: Path, tmp_path: Path) -> None:
    assert tune(model).exit_code == 2
    assert tune(model, "--data", "x.npz", "--data-free").exit_code == 2
    compressed = tmp_path / "c.onnx"
    assert CliRunner().invoke(export_command, [str(model), str(compressed)]).exit_code == 0
    refused = tune(compressed, "--data-free")
    assert refused.exit_code == 2
    assert "compressed already" in refused.output


def test_synthetic_images_have_the_spectrum_of_photographs() -> None:
    images = synthetic_images((8, 3, 64, 64), seed=1)
    np.testing.assert_allclose(images.std(axis=(-2, -1)), 1, atol=1e-4)
    power = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=(0, 1))
    slope = np.log2(power[0, 4] / power[0, 16]) / 2
    assert slope == pytest.approx(2, abs=0.7), "amplitude 1/f is power 1/f^2"
