import json
from pathlib import Path
from typing import Any

import pytest

from haste_export import LayerSetting, Options, Plan
from haste_export.errors import OptionError
from haste_export.options import NameFilter


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"hyperplanes": 33}, "hyperplanes must be 0 to 32"),
        ({"hyperplanes": -1}, "hyperplanes must be 0 to 32"),
        ({"hyperplanes": 20, "max_hyperplanes": 16}, "hyperplanes must be 0 to 16"),
        ({"max_hyperplanes": 0}, "max_hyperplanes must be 1 to 32"),
        ({"sparsity": 1.0}, "sparsity must be"),
        ({"sparsity": float("nan")}, "sparsity must be"),
        ({"merge": "median"}, "merge must be one of scaled, mean, norm"),
        ({"patch": 0}, "patch must be auto or 1 to 16, not 0"),
        ({"patch": 17}, "patch must be auto or 1 to 16, not 17"),
        ({"patch": "3"}, "patch must be auto or 1 to 16, not '3'"),
        ({"patch": True}, "patch must be auto or 1 to 16, not True"),
        ({"patch": 3.0}, r"patch must be auto or 1 to 16, not 3\.0"),
        ({"seed": -1}, "seed must not be negative"),
        ({"tau": float("inf")}, "tau must be finite"),
        ({"tau": 0.1, "merge": "mean"}, "no effect on merge 'mean'"),
        ({"skip_first": -1}, "skip_first must not be negative"),
        ({"weights": "hwio"}, "weights must be"),
        ({"layout": "nhwc"}, "layout must be"),
        ({"input_shapes": {"x": (1, 0)}}, "must be positive"),
        ({"exclude": ("re:(",)}, "not a regular expression"),
        ({"max_hyperplanes": 8, "hyperplanes": 8, "plan": Plan(levels=({"a": LayerSetting(9)},))}, "8 are stored"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        Options(**values)


def test_names_match_whole_and_patterns_anywhere() -> None:
    options = Options(include=("re:block", "head"), exclude=("re:block2$",))
    names = NameFilter(options, ["a/block1", "block2", "head", "head.1"])
    assert names.refusal("a/block1") is None
    assert names.refusal("head") is None
    assert names.refusal("head.1") == "no --include matches it"
    assert names.refusal("block2") == "--exclude re:block2$ matches it"


@pytest.mark.parametrize("flag", ["include", "exclude"])
def test_a_name_that_matches_nothing_is_an_error(flag: str) -> None:
    options: dict[str, Any] = {flag: ("nowhere",)}
    with pytest.raises(OptionError, match=f"--{flag} nowhere matches no Conv"):
        NameFilter(Options(**options), ["a", "b"])


def test_options_are_json() -> None:
    options = Options(exclude=("a",), input_shapes={"x": (1, 3, 8, 8)}, plan=Plan.from_hyperplanes({"b": 7, "c": None}))
    document = json.loads(json.dumps(options.to_json()))
    assert document["exclude"] == ["a"]
    assert document["input_shapes"] == {"x": [1, 3, 8, 8]}
    assert document["plan"]["levels"] == [{"b": {"hyperplanes": 7, "tau": 0.0}}]


def test_plan_survives_json(tmp_path: Path) -> None:
    plan = Plan({"a": "slower"}, ({"b": LayerSetting(8, 0.05)}, {"b": LayerSetting(0)}), default_level=2)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_json()))
    assert Plan.from_json(path) == plan


def test_plan_takes_short_forms(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"stay_conv": ["a"], "levels": [{"b": 9}]}')
    plan = Plan.from_json(path)
    assert list(plan.stay_conv) == ["a"]
    assert plan.levels == ({"b": LayerSetting(9)},)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"levels": [{"a": 99}]}', '{"levels": [{"a": {}}]}', '{"levels": [{"a": 1}], "default_level": 2}'],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(OptionError):
        Plan.from_json(path)


def test_a_report_is_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "model.haste.json"
    path.write_text('{"schema": 1, "summary": {}, "layers": []}')
    with pytest.raises(OptionError, match="a plan has no 'layers'"):
        Plan.from_json(path)


def test_missing_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read the plan"):
        Plan.from_json(tmp_path / "none.json")


def test_plan_that_names_no_layer_is_refused() -> None:
    with pytest.raises(OptionError, match="names 'b'"):
        Plan.from_hyperplanes({"a": 1, "b": None}).check_names(["a"])
