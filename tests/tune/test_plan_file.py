from __future__ import annotations

import json
from pathlib import Path

import pytest

from haste_export.errors import OptionError, OutputError
from haste_export.options import Options
from haste_export.plan import LayerSetting, Plan
from haste_export.plan_file import PlanFile, read_plan

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PLAN = Plan(
    stay_conv={"head": "it never gains"},
    levels=(
        {"a/b": LayerSetting(14, 0.02), 'c "d"': LayerSetting(0)},
        {"a/b": LayerSetting(9, 0.1), 'c "d"': LayerSetting(7)},
    ),
    default_level=2,
)


def test_a_written_plan_reads_back(tmp_path: Path) -> None:
    file = PlanFile(PLAN, {"merge": "scaled", "sparsity": 0.5, "seed": 3}, ["made by a test"])
    file.write(tmp_path / "plan.toml")
    back = read_plan(tmp_path / "plan.toml")
    assert (back.plan, back.options) == (file.plan, file.options)
    text = (tmp_path / "plan.toml").read_text()
    assert text.startswith("# made by a test\n")
    assert '"a/b" = [14, 9]\n' in text, "one line per layer"


def test_a_plan_that_stores_few_hyperplanes_can_be_exported() -> None:
    few = PlanFile(Plan(levels=({"a": LayerSetting(9)},)), {"max_hyperplanes": 9})
    assert Options(plan=few.plan, **few.export_options).hyperplanes == 9
    assert PlanFile(PLAN).export_options == {"hyperplanes": Options.hyperplanes}


def test_patches_read_back(tmp_path: Path) -> None:
    plan = Plan(levels=({"a": LayerSetting(9), 'c "d"': LayerSetting(7)},), patches={"a": 7, 'c "d"': 3})
    PlanFile(plan, {"patch": "auto"}).write(tmp_path / "plan.toml")
    back = read_plan(tmp_path / "plan.toml")
    assert (back.plan, back.options) == (plan, {"patch": "auto"})
    options = Options(plan=back.plan, **back.export_options)
    assert [options.patch_of(name, (3, 3), 30, 30) for name in ("a", 'c "d"', "other")] == [7, 3, 6]
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))
    assert read_plan(tmp_path / "plan.json").plan == plan


def test_a_plan_from_before_patches_were_chosen_means_the_same(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("[options]\npatch = 3\n[hyperplanes]\na = [9]\n")
    back = read_plan(tmp_path / "plan.toml")
    options = Options(plan=back.plan, **back.export_options)
    assert {options.patch_of(name, (3, 3), 30, 30) for name in ("a", "other")} == {3}


@pytest.mark.parametrize("name", sorted(path.name for path in RESULTS.glob("plan-*.toml")))
def test_published_plans_have_patches_of_three(name: str) -> None:
    file = read_plan(RESULTS / name)
    assert (file.options["patch"], file.plan.patches) == (3, {})


def test_comments_a_bare_number_and_missing_tables(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('# mine\n[hyperplanes]\n"a" = 12  # was 14\nb = [8]\n')
    assert read_plan(path).plan.levels == ({"a": LayerSetting(12), "b": LayerSetting(8)},)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[hyperplanes", "is not a plan"),
        ("[levels]\na = 1", "a plan has no 'levels'"),
        ("hyperplanes = 3", "must be a table"),
        ("[hyperplanes]\na = [1, 2]\nb = [1]", "same number of levels"),
        ("[hyperplanes]\na = [1.5]", "whole numbers"),
        ("[hyperplanes]\na = [40]", "0 to 32"),
        ("[hyperplanes]\na = ['x']", "a number for each level"),
        ("[hyperplanes]\na = []", "a number for each level"),
        ("[hyperplanes]\na = [1]\n[tau]\nb = [0.1]", r"\[tau\] names 'b'"),
        ("[hyperplanes]\na = [1]\n[stay_conv]\na = 'why'", "is in"),
        ("[options]\nspeed = 1", "which is none of"),
        ("[options]\nseed = 'x'", "is no int"),
        ("[options]\npatch = 'x'", "patch must be auto or 1 to 16, not 'x'"),
        ("[options]\npatch = 0", "patch must be auto or 1 to 16, not 0"),
        ("patch = 3", "must be a table"),
        ("[patch]\na = 'auto'", "the patch of 'a' must be 1 to 16, not 'auto'"),
        ("[patch]\na = 17", "the patch of 'a' must be 1 to 16, not 17"),
        ("[patch]\na = 3\n[stay_conv]\na = 'why'", r"is in \[stay_conv\] and in \[patch\]"),
        ("default_level = 4\n[hyperplanes]\na = [1]", "default level 4"),
        ("[hyperplanes]\na = [nan]", "whole numbers"),
        ("[hyperplanes]\na = [-inf]", "whole numbers"),
        ("[hyperplanes]\na = [1]\n[tau]\na = [nan]", "finite"),
        (f"[hyperplanes]\na = [1]\n[tau]\na = [1{'0' * 400}]", "too large"),
        ("default_level = 'x'", "must be a number"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(OptionError, match=sentence):
        read_plan(tmp_path / "plan.toml")


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read the plan"):
        read_plan(tmp_path / "none.toml")
    with pytest.raises(OutputError, match="cannot write"):
        PlanFile(PLAN).write(tmp_path / "no" / "plan.toml")


@pytest.mark.parametrize("patch", ['{"a": "x"}', '{"a": 0}', "[3]", "3"])
def test_a_json_plan_with_patches_that_are_none(tmp_path: Path, patch: str) -> None:
    (tmp_path / "plan.json").write_text(f'{{"levels": [{{"a": 9}}], "patch": {patch}}}')
    with pytest.raises(OptionError, match=r"is not a plan|must be 1 to 16"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize("value", ["Infinity", "NaN", '{"hyperplanes": -Infinity}'])
def test_a_json_plan_with_numbers_that_are_none(tmp_path: Path, value: str) -> None:
    (tmp_path / "plan.json").write_text(f'{{"levels": [{{"a": {value}}}]}}')
    with pytest.raises(OptionError, match="is not a plan"):
        read_plan(tmp_path / "plan.json")


def test_any_name_reads_back(tmp_path: Path) -> None:
    names = ["\N{GRINNING FACE}", "é", 'a"b\\c', "tab\tnew\nline", "\x7f\x01", "𝄞/conv"]
    plan = Plan(
        dict.fromkeys([f"{name}!" for name in names], "\N{GRINNING FACE}"), (dict.fromkeys(names, LayerSetting(3)),)
    )
    PlanFile(plan, comments=["two\nlines"]).write(tmp_path / "plan.toml")
    assert read_plan(tmp_path / "plan.toml").plan == plan


def test_levels_of_different_layers_have_no_file(tmp_path: Path) -> None:
    plan = Plan(levels=({"a": LayerSetting(3)}, {"b": LayerSetting(3)}))
    (tmp_path / "plan.toml").write_text("old")
    with pytest.raises(OptionError, match="level 1 of the plan does not name 'b'"):
        PlanFile(plan).write(tmp_path / "plan.toml")
    assert (tmp_path / "plan.toml").read_text() == "old"
