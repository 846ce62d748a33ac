"""What the search judges is what is exported."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from haste_export.evaluate.dataset import Dataset
from haste_export.evaluate.engine import Judge
from haste_export.evaluate.models import compressed_with
from haste_export.evaluate.sweep import sweep_compressed
from haste_export.options import Options
from haste_export.plan import LayerSetting
from haste_export.tune.correct import MomentMeter, attach, in_plain_layout
from haste_export.tune.levels import make_plan
from haste_export.tune.objective import Objective

OPTIONS = Options(max_hyperplanes=12, hyperplanes=12)


def test_a_corrected_candidate_is_judged_as_it_will_be_exported(stock: onnx.ModelProto, images: Dataset) -> None:
    judge = Judge(stock, images, 1)
    meter = MomentMeter(in_plain_layout(stock, OPTIONS), images, 1)
    objective = Objective(judge, compressed_with(stock, OPTIONS), meter=meter)
    counts = [7, 0, 9, 6, 12, 8]
    settings = {name: LayerSetting(count) for name, count in zip(meter.layers, counts, strict=True)}
    result = objective.measure(settings)

    planned = compressed_with(stock, replace(OPTIONS, plan=make_plan([settings])))
    (point,) = sweep_compressed(judge, attach(planned, [meter.calibrate(settings)]), [1])
    # A layer that is dense at every level is exported as a Conv, which rounds differently: a code may flip.
    assert point.error == pytest.approx(result.error, rel=1e-3)
    assert point.agreement == 1 - result.disagreement
    assert point.flops_reduction == pytest.approx(result.flops_reduction)

    plain = Objective(judge, compressed_with(stock, OPTIONS)).measure(settings)
    assert result.error < 0.85 * plain.error
    assert result.flops_reduction == pytest.approx(plain.flops_reduction, abs=0.02), "it costs nothing"


def test_one_layer_alone_is_corrected_too(stock: onnx.ModelProto, images: Dataset) -> None:
    judge = Judge(stock, images, 1)
    compressed = compressed_with(stock, OPTIONS)
    meter = MomentMeter(in_plain_layout(stock, OPTIONS), images, 1)
    name = meter.layers[0]
    ours = Objective(judge, compressed, meter=meter).saved(name, LayerSetting(6))
    plain = Objective(judge, compressed).saved(name, LayerSetting(6))
    assert ours[0] < plain[0]
    assert ours[1] == pytest.approx(plain[1], rel=1e-6), "what one layer saves does not change"
