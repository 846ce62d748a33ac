"""`--stats`: the model computes the same and says what its layers did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from haste_export import LayerSetting, Plan, compress, compress_with_report
from haste_export.cli.export import command
from haste_export.errors import UnsupportedModelError
from haste_export.instrument import instrument
from tests.exporter.models import (
    assert_same_function,
    filters,
    haste_convs,
    random_feeds,
    run,
    session,
    text_model,
)

LEVELS = Plan(levels=({"b": LayerSetting(4, 0.3)}, {"a": LayerSetting(9)}))
CHAIN = """
[a] p = Conv <pads = [1,1,1,1]> (x, w)
q = Relu (p)
[b] r = Conv <pads = [1,1,1,1]> (q, w)
s = Sigmoid (r)
[c] t = Conv <pads = [1,1,1,1]> (s, w)
y = Add (t, q)
"""


def chain() -> onnx.ModelProto:
    """Three layers in the blocked layout, with two activations and a residual."""
    return text_model(CHAIN, {"w": filters(32, 32, 3, 3)}, inputs="float[2,32,9,8] x", outputs="float[2,32,9,8] y")


def both(model: onnx.ModelProto, **options: Any) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The compressed model without statistics and with them."""
    common = {"skip_first": 0, "select": "all", "hyperplanes": 5, **options}
    return compress(model, **common), compress(model, **common, stats=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layout": "nchw", "weights": "oihw"},
        {"tau": 0.2, "merge": "norm", "weights": "fp16"},
        {"plan": LEVELS},
    ],
)
def test_the_values_are_the_same(has_library: bool, options: dict[str, Any]) -> None:
    plain, stats = both(chain(), **options)
    names = ["y", "haste_stats/a", "haste_stats/b", "haste_stats/c"]
    assert [value.name for value in stats.graph.output] == names
    onnx.checker.check_model(stats, full_check=True)
    feeds = random_feeds(plain)
    (expected,) = run(plain, feeds)
    body, *zeros = run(stats, feeds)
    np.testing.assert_array_equal(body, expected)
    assert not np.any(zeros)
    if has_library:
        (expected,) = run(plain, feeds, library=True)
        native, *counts = run(stats, feeds, library=True)
        np.testing.assert_array_equal(native, expected)
        probe = run(instrument(plain), feeds, library=True)
        np.testing.assert_array_equal(counts, probe[1:])
        assert all(layer[0] > 0 for layer in counts)
        assert any(layer[2] < layer[1] for layer in counts)


def test_only_the_second_outputs_are_new() -> None:
    plain, stats = both(chain())
    assert len(haste_convs(stats)) == 3
    for node in haste_convs(stats):
        assert node.output[1] == f"haste_stats/{node.name}"
        del node.output[1:]
    assert list(stats.graph.node) == list(plain.graph.node)
    assert list(stats.graph.initializer) == list(plain.graph.initializer)
    assert list(stats.graph.input) == list(plain.graph.input)


def test_layers_inside_an_if_keep_theirs_to_themselves(has_library: bool) -> None:
    body = """
    [a] p = Conv <pads = [1,1,1,1]> (x, w)
    flag = Constant <value = bool {1}> ()
    y = If (flag) <
      then_branch = yes () => (float[1,16,9,8] t) { [inner] t = Conv <pads = [1,1,1,1]> (p, w) },
      else_branch = no () => (float[1,16,9,8] e) { e = Identity (p) }>
    """
    model = text_model(body, {"w": filters(16, 16, 3, 3)}, outputs="float[1,16,9,8] y")
    _, stats = both(model)
    assert [value.name for value in stats.graph.output] == ["y", "haste_stats/a"]
    del stats.graph.output[1:]
    assert_same_function(model, stats, library=has_library)


def test_a_model_that_uses_the_name_is_refused() -> None:
    model = text_model('"haste_stats/a" = Relu (x)\n[a] y = Conv ("haste_stats/a", w)', {"w": filters(16, 16, 3, 3)})
    with pytest.raises(UnsupportedModelError, match="'haste_stats/a' already"):
        compress(model, skip_first=0, select="all", stats=True)


def test_nothing_is_added_where_nothing_was_rewritten() -> None:
    model = text_model("y = Relu (x)")
    result, report = compress_with_report(model, stats=True)
    assert result == model
    assert not report.rewritten


def test_the_command_checks_such_a_model(tmp_path: Path, has_library: bool) -> None:
    onnx.save(chain(), tmp_path / "net.onnx")
    result = CliRunner().invoke(
        command, [str(tmp_path / "net.onnx"), "--select", "all", "--stats", "--check", "2", "--hyperplanes", "5"]
    )
    assert result.exit_code == 0, result.output
    assert "Statistics: further outputs, haste_stats/LAYER" in result.output
    assert "Check passed over 2 runs" in result.output
    written = onnx.load(tmp_path / "net.haste.onnx")
    assert [node.name for node in session(written, library=has_library).get_outputs()] == [
        "y", "haste_stats/b", "haste_stats/c",
    ]  # fmt: skip
