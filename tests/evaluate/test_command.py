from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from haste_export import compress
from haste_export.cli.eval import command
from haste_export.cli.export import command as export_command
from haste_export.data import sample_file, sample_images, sample_model
from tests.exporter.models import filters, text_model


def haste_eval(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(sample_model()), *map(str, arguments)])


@pytest.mark.usefixtures("library")
def test_sweep_writes_table_json_csv_and_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = {kind: tmp_path / f"a.{kind}" for kind in ("json", "csv", "svg")}
    result = haste_eval(
        "--data", sample_file(), "--limit", 64, "--hyperplanes", "8,14", "--seeds", "0,1",
        "--json", files["json"], "--csv", files["csv"], "--plot", files["svg"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "64 samples, stock top-1" in result.output
    document = json.loads(files["json"].read_text())
    assert len(document["points"]) == 4
    with files["csv"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["score"]) for row in rows] == [point["score"] for point in document["points"]]
    assert "FLOPs saved" in files["svg"].read_text() or files["svg"].stat().st_size > 10_000


@pytest.mark.usefixtures("library")
def test_without_labels_it_says_what_it_can_tell(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", image=sample_images().inputs[:32])
    result = haste_eval("--data", tmp_path / "images.npz", "--hyperplanes", "10")
    assert result.exit_code == 0, result.output
    assert "no labels: only agreement and error can be told" in result.output
    assert "top-1" not in result.output


def test_layers_inside_branches_are_not_evaluated(tmp_path: Path) -> None:
    """The model is known for compressed nevertheless, and not compressed again."""
    then = "then_branch = a () => (float[1,16,9,8] t) { t = Conv <pads = [1,1,1,1]> (x, w) }"
    other = "else_branch = b () => (float[1,16,9,8] e) { e = Neg (x) }"
    model = text_model(f"y = If (c) <{then}, {other}>", {"w": filters(16, 16, 3, 3), "c": np.array(True)})
    onnx.save(compress(model, skip_first=0, select="all"), tmp_path / "a.onnx")
    np.savez(tmp_path / "x.npz", x=np.ones((2, 16, 9, 8), np.float32))
    arguments = [str(tmp_path / "a.onnx"), "--data", str(tmp_path / "x.npz"), "--batch", "1"]
    for more in ([], ["--per-layer", "--hyperplanes", "8"]):
        result = CliRunner().invoke(command, [*arguments, *more])
        assert result.exit_code == 2
        assert "only those outside are evaluated" in result.output


@pytest.mark.usefixtures("library")
def test_per_layer_sorts_by_harm() -> None:
    result = haste_eval("--data", sample_file(), "--limit", 48, "--hyperplanes", "8", "--per-layer", "--json", "-")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)["layers"]
    errors = [row["error"] for row in rows]
    assert len(errors) == 6
    assert errors == sorted(errors, reverse=True)
    second = next(row for row in rows if row["layer"] == "node_conv2d_2")
    assert second["input_bytes"] == 4 * 64 * 14 * 14
    assert second["merged_bytes"] == pytest.approx((1 - second["r"]) * second["input_bytes"])
    assert {row["patch"] for row in rows} == {6, 7}, "maps of 6 and of 14 pixels"


@pytest.mark.usefixtures("library")
def test_the_gate(tmp_path: Path) -> None:
    arguments = ("--data", sample_file(), "--limit", 64, "--hyperplanes", "2")
    failed = haste_eval(*arguments, "--assert-drop", 0.01)
    assert failed.exit_code == 1
    assert "loses" in failed.output
    assert haste_eval(*arguments, "--assert-drop", 1.0).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--data", "nowhere.npz"), "cannot read"),
        (("--data", "nowhere"), "no such file"),
        ((), "Missing option '--data'"),
        (("--data", "x.npz", "--mean", "a"), "no list of numbers"),
    ],
)
def test_mistakes_end_with_2_and_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    result = haste_eval(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("library")
def test_levels_of_a_compressed_model_are_judged_by_default_and_no_others(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.toml", tmp_path / "levels.onnx"
    plan.write_text("[hyperplanes]\n" + "".join(f'"node_conv2d_{i}" = [14, 9]\n' for i in range(1, 7)))
    exported = CliRunner().invoke(export_command, [str(sample_model()), str(out), "--plan", str(plan)])
    assert exported.exit_code == 0, exported.output
    data = ["--data", str(sample_file()), "--limit", "32"]
    result = CliRunner().invoke(command, [str(out), *data, "--json", "-"])
    assert result.exit_code == 0, result.output
    assert [point["setting"] for point in json.loads(result.output)["points"]] == [1, 2]
    refused = CliRunner().invoke(command, [str(out), *data, "--hyperplanes", "3"])
    assert refused.exit_code == 2
    assert "levels 0 to 2, and not 3" in refused.output
    assert CliRunner().invoke(command, [str(out), *data, "--per-layer"]).exit_code == 2


def test_data_that_does_not_fit_ends_with_2(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 3, 28, 28), np.float32))
    result = haste_eval("--data", tmp_path / "a.npz")
    assert result.exit_code == 2
    assert "does not run on this data" in result.output


def test_a_missing_library_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASTE_OPS_LIBRARY", "/nowhere/lib.so")
    result = haste_eval("--data", sample_file(), "--limit", 16)
    assert result.exit_code == 3
    assert "does not exist" in result.output
