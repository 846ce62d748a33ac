"""The default selection, on models."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import onnx
import pytest

from haste_export import compress_with_report
from haste_export.data import sample_model
from haste_export.errors import OptionError
from haste_export.flops import LayerShape
from haste_export.options import ISAS, Isa
from haste_export.plan import LayerSetting, Plan
from haste_export.speed import model as cost_model
from haste_export.speed import predict
from haste_export.speed.dense import predicted_dense
from haste_export.speed.model import Costs
from haste_export.speed.network import NOMINAL_SIDE, Layer
from runtime_ops import native
from tests.exporter.models import filters, text_model
from tests.speed.fakes import chain, wide_chain

# Channels in and out, side and number of the layers behind the first.
VGG16 = [
    (64, 64, 240, 1), (64, 128, 120, 1), (128, 128, 120, 1), (128, 256, 60, 1), (256, 256, 60, 2),
    (256, 512, 30, 1), (512, 512, 30, 2), (512, 512, 15, 3),
]  # fmt: skip


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Makes a HasteConv cost as many times a Conv as the list says."""
    factor = [1.0]
    zero = dict.fromkeys(vars(cost_model.costs_of("avx512").haste), 0.0)

    def costs_of(isa: str) -> Costs:
        costs = cost_model.costs_of(isa)
        stock = replace(costs.stock, **{name: float(name == "call") for name in vars(costs.stock)})
        haste = cost_model.HasteStages(**{**zero, "call": factor[0]})
        return Costs(True, stock, haste, 0.0, 0.0, 0.0)

    monkeypatch.setattr(predict, "costs_of", costs_of)
    return factor


def test_layers_that_gain(priced: list[float]) -> None:
    priced[0] = 0.5
    _, report = compress_with_report(chain())
    assert [layer.name for layer in report.rewritten] == ["a", "b", "c"]
    assert report.layer("first").speed is None
    speed = report.layer("a").speed
    assert speed is not None
    assert speed.source == "model"
    assert speed.haste_ms / speed.stock_ms == pytest.approx(0.5)


def test_times_in_dense_mode() -> None:
    _, report = compress_with_report(wide_chain(), isa="avx512")
    shape = LayerShape(128, 128, 28, 28, 3, 3, 7)
    dense, hashed = (cost_model.predict(shape, count, isa="avx512").haste_ms for count in (0, 14))
    assert [layer.speed.dense_ms for layer in report.rewritten if layer.speed] == pytest.approx([dense] * 3)
    assert report.dense is not None
    assert (report.dense.haste_ms, report.dense.dense_ms) == pytest.approx((3 * hashed, 3 * dense))
    assert report.dense.speedup == pytest.approx(dense / hashed)
    assert report.to_json()["dense"]["source"] == "model"


@pytest.mark.parametrize(("dense", "pays"), [(1.0, False), (1.11, False), (1.13, True)])
def test_a_gain_over_dense_mode_counts_from_the_margin_on(dense: float, pays: bool) -> None:
    layers = [Layer("a", True, 9.0, 1e6, 1e6 * (2 * dense - 1)), Layer("b", True, 9.0, 1e6, 1e6)]
    found = predicted_dense(layers)
    assert found is not None
    assert (found.haste_ms, found.dense_ms) == pytest.approx((2, 2 * dense))
    assert found.pays == pays


@pytest.mark.parametrize("isa", ["avx512", "avx2"])
def test_dense_mode_as_it_was_measured(isa: Isa) -> None:
    """Hashing at L = 14 gains nothing in the sample, and a third of the time in a VGG16 at 240x240."""
    _, sample = compress_with_report(onnx.load(sample_model()), isa=isa)
    assert sample.dense is not None
    assert not sample.dense.pays
    shapes = [
        LayerShape(inner, outer, side, side, 3, 3, 7 if side > 30 else 6)
        for inner, outer, side, count in VGG16
        for _ in range(count)
    ]
    times = [[1e6 * cost_model.predict(shape, count, isa=isa).haste_ms for count in (14, 0)] for shape in shapes]
    vgg = predicted_dense([Layer("", True, 0.0, haste, dense) for haste, dense in times])
    assert vgg is not None
    assert vgg.pays


@pytest.mark.parametrize(
    "options",
    [
        {"hyperplanes": 0},
        {"select": "all"},
        {"exclude": ("re:.",)},
        {"plan": Plan(levels=({"a": LayerSetting(9)},))},
        {"plan": Plan(levels=({"a": LayerSetting(9)},), default_level=0)},
    ],
)
def test_no_comparison_with_dense_mode(options: dict[str, Any]) -> None:
    _, report = compress_with_report(wide_chain(), isa="avx512", **options)
    assert report.dense is None


@pytest.mark.parametrize(("machine", "isa"), [("aarch64", "neon"), ("x86_64", "avx512")])
def test_an_instruction_set_without_constants(monkeypatch: pytest.MonkeyPatch, machine: str, isa: str) -> None:
    """As on the day that a new one is added to the library."""
    monkeypatch.setattr(native, "isa", lambda: "sve")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    _, report = compress_with_report(chain())
    (warning,) = report.warnings
    assert warning.startswith(
        f"the cost model has no constants for the instruction set 'sve'; layers were chosen as for '{isa}'"
    )
    assert report.to_json()["warnings"] == [warning]
    _, known = compress_with_report(chain(), isa=isa)
    assert known.warnings == []
    assert known.layers == report.layers


def test_every_instruction_set_to_choose_has_constants() -> None:
    assert {*ISAS} == {"auto", *cost_model.known_isas()}


def test_layers_that_do_not_gain(priced: list[float]) -> None:
    priced[0] = 2.0
    model = chain()
    small, report = compress_with_report(model)
    assert small == model
    assert report.layer("first").reason == "it is the first convolution"
    assert report.layer("a").sentence == (
        "Conv 'a': HasteConv is predicted to run at 0.50 times the speed of the Conv, left alone."
    )
    assert report.to_json()["layers"][1]["speed"]["source"] == "model"


def test_all_rewrites_what_qualifies(priced: list[float]) -> None:
    priced[0] = 2.0
    _, report = compress_with_report(chain(), select="all")
    assert len(report.rewritten) == 3
    assert all(layer.speed is None for layer in report.layers)


def test_a_plan_has_the_last_word(priced: list[float]) -> None:
    priced[0] = 2.0
    _, report = compress_with_report(chain(), plan=Plan.from_hyperplanes({"a": 14, "b": None}))
    assert [layer.name for layer in report.rewritten] == ["a"]
    assert report.layer("b").reason == "the plan keeps it"


def test_open_sizes_are_assumed() -> None:
    model = text_model(
        "[a] r = Conv <pads = [1,1,1,1]> (x, w)\n[b] y = Conv <pads = [1,1,1,1]> (r, w)",
        {"w": filters(256, 256, 3, 3)},
        inputs="float[n,256,h,w] x",
    )
    _, report = compress_with_report(model, isa="avx512")
    assert [layer.name for layer in report.rewritten] == ["b"]


@pytest.mark.parametrize(("side", "patch"), [("14", 7), ("15", 6), ("h", 7)])
@pytest.mark.parametrize("asked", ["auto", 3])
def test_layers_are_predicted_with_the_patch_that_they_get(side: str, patch: int, asked: Any) -> None:
    weights = {"w": filters(256, 256, 3, 3)}
    model = text_model("[a] y = Conv <pads = [1,1,1,1]> (x, w)", weights, inputs=f"float[1,256,{side},{side}] x")
    _, report = compress_with_report(model, skip_first=0, isa="avx512", patch=asked)
    size = int(side) if side.isdecimal() else NOMINAL_SIDE
    shape = LayerShape(256, 256, size, size, 3, 3, patch if asked == "auto" else asked)
    speed = report.layer("a").speed
    assert speed is not None
    assert speed.haste_ms == pytest.approx(cost_model.predict(shape, 14, isa="avx512").haste_ms)


def test_convolutions_of_other_ranks_and_in_branches() -> None:
    body = """
    k = Constant <value_int = 0> ()
    t = Cast <to = 9> (k)
    y = If (t) <then_branch = g1 () => (a) { [inner] a = Conv (x, w) },
                else_branch = g2 () => (b) { b = Identity (x) }>
    """
    _, report = compress_with_report(text_model(body, {"w": filters(16, 16, 3, 3)}), skip_first=0)
    assert [layer.name for layer in report.layers] == ["inner"]
    line = text_model("[a] y = Conv (x, w)", {"w": filters(16, 16, 3)}, inputs="float[1,16,9] x")
    _, report = compress_with_report(line, skip_first=0)
    assert report.layer("a").reason == "it is a 1-D convolution"


@pytest.mark.parametrize("options", [{"select": "none"}, {"isa": "sse"}])
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        compress_with_report(onnx.ModelProto(), **options)
