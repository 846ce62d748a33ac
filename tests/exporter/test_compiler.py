"""The lists of passes."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from haste_export.compiler import Step, completion, compress_ir, preparation, run_passes, selection
from haste_export.contract import CONV, DOMAIN
from haste_export.options import Options
from haste_export.report import Report
from tests.exporter.models import filters, random_feeds, relative_error, run, text_model

BODY = "a = Conv <pads = [1,1,1,1]> (x, w)\n b = Relu (a)\n y = Conv <pads = [1,1,1,1]> (b, v)"


@pytest.fixture
def model() -> onnx.ModelProto:
    return text_model(BODY, {"w": filters(32, 16, 3, 3), "v": filters(16, 32, 3, 3)})


def all_passes(options: Options, report: Report) -> list[Step]:
    return [*preparation(options), *selection(options, report), *completion(options, report)]


def test_passes_do_nothing_before_they_are_called() -> None:
    options = Options(skip_first=0)
    report = Report(options)
    names = [name for name, _ in all_passes(options, report)]
    assert len(names) == len(set(names)) == 21
    assert report == Report(options)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (Options(select="all"), "predict-gains"),
        (Options(layout="nchw"), "layout"),
        (Options(weights="oihw"), "pack-weights"),
    ],
)
def test_options_leave_passes_out(options: Options, missing: str) -> None:
    every = [name for name, _ in all_passes(Options(), Report(Options()))]
    assert [name for name, _ in all_passes(options, Report(options))] == [name for name in every if name != missing]


def test_the_report_follows_the_passes(model: onnx.ModelProto) -> None:
    """Run one by one, each pass has its part of the report filled in when it returns; the others are untouched."""
    options = Options(skip_first=0, select="all", weights="fp16")
    report, ir_model, seen = Report(options), ir.from_proto(model), {}
    for name, step in all_passes(options, report):
        run_passes(ir_model, [(name, step)])
        seen[name] = (len(report.layers), report.steering, report.reorders, report.weight_bytes)
    assert seen["infer-shapes"] == (0, None, 0, 0)
    assert seen["rewrite"] == seen["fuse-activation"] == (2, None, 0, 0)
    assert seen["steering"] == (2, "haste_hyperplanes", 0, 0)
    assert seen["layout"] == seen["finish"] == (2, "haste_hyperplanes", 0, 0)
    assert seen["report"] == (2, "haste_hyperplanes", 0, 2 * 9 * 16 * 32 * 2)
    assert report == compress_ir(ir.from_proto(model), options)[1]


def test_the_model_runs_after_every_pass_before_the_rewrite_and_after_the_functions(model: onnx.ModelProto) -> None:
    options = Options(skip_first=0, select="all")
    ir_model, expected, feeds = ir.from_proto(model), run(model, random_feeds(model)), random_feeds(model)
    runs = True
    for name, step in all_passes(options, Report(options)):
        step(ir_model)
        runs = (runs or name == "attach-functions") and name != "rewrite"
        if runs:
            assert relative_error(expected, run(ir.to_proto(ir_model), feeds)) < 1e-5, name
    assert runs


def test_nothing_more_happens_if_nothing_is_rewritten(model: onnx.ModelProto) -> None:
    result, report = compress_ir(ir.from_proto(model), Options(skip_first=2))
    assert not report.rewritten
    assert report.steering is None
    assert not [node for node in result.graph if node.domain == DOMAIN or node.op_type == CONV]
    assert not result.metadata_props
