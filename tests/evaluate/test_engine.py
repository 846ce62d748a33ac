from __future__ import annotations

import numpy as np
import onnx
import pytest

import runtime_ops
from haste_export.evaluate import steer
from haste_export.evaluate.dataset import Dataset
from haste_export.evaluate.engine import Judge, NativeKernelsMissingError, session_options
from haste_export.evaluate.layers import LocalEffects, SteeredModel, layer_effects, sort_by_harm
from haste_export.evaluate.models import compressed_with
from haste_export.evaluate.stats import haste_convs, hyperplanes_in_use, model_layers, total_cost
from haste_export.evaluate.sweep import Spread, summarise, sweep, sweep_compressed
from haste_export.flops import Compression, layer_cost
from haste_export.instrument import instrument
from haste_export.options import Options
from haste_export.plan import LayerSetting, Plan


def test_dense_is_stock_and_fewer_hyperplanes_lose_more(judge: Judge, stock: onnx.ModelProto) -> None:
    points = list(sweep(judge, stock, Options(), [0, 6, 12], [0, 1]))
    assert [(point.seed, point.setting) for point in points] == [(0, 0), (0, 6), (0, 12), (1, 0), (1, 6), (1, 12)]
    dense, coarse, fine = points[:3]
    assert dense.agreement == 1
    assert dense.error < 1e-5
    assert dense.flops_reduction == dense.r == 0
    assert coarse.error > 2 * fine.error
    assert coarse.flops_reduction > fine.flops_reduction > 0
    assert fine.score is not None
    assert fine.score > 0.8
    row = summarise(points)[6]
    assert row["r"] == Spread.of([points[1].r, points[4].r])


def test_the_steered_result_is_that_of_a_model_exported_at_that_setting(
    judge: Judge, stock: onnx.ModelProto, images: Dataset
) -> None:
    feeds = next(images.batches()).feeds
    steered = judge.open(compressed_with(stock, Options(hyperplanes=14)))
    steered.hyperplanes = 9
    fixed = judge.open(compressed_with(stock, Options(hyperplanes=9)))
    for ours, theirs in zip(steered.run(feeds), fixed.run(feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_levels_are_judged_and_equal_their_uniform_twin(judge: Judge, stock: onnx.ModelProto) -> None:
    compressed = compressed_with(stock, Options(max_hyperplanes=16))
    names = [node.name for node in haste_convs(compressed)]
    plan = Plan(levels=tuple(dict.fromkeys(names, LayerSetting(count)) for count in (12, 8)), default_level=1)
    levelled = compressed_with(stock, Options(max_hyperplanes=16, plan=plan))
    by_level = list(sweep_compressed(judge, levelled, [0, 1, 2]))
    by_count = list(sweep_compressed(judge, compressed, [0, 12, 8]))
    for level, count in zip(by_level, by_count, strict=True):
        assert (level.error, level.r, level.flops_reduction) == (count.error, count.r, count.flops_reduction)
    assert hyperplanes_in_use(levelled, 2) == dict.fromkeys(names, 8)


def test_cost_follows_the_formulas(judge: Judge, compressed: onnx.ModelProto, images: Dataset) -> None:
    layers = {layer.name: layer for layer in model_layers(compressed, next(images.batches()).feeds)}
    assert (len(layers), sum(layer.compressed for layer in layers.values())) == (7, 6)
    session = judge.open(compressed)
    session.hyperplanes = 10
    outcome = judge.judge(session)
    layer = layers["node_conv2d_2"]
    assert (layer.shape.in_channels, layer.shape.out_channels, layer.shape.out_h, layer.shape.kernel_w) == (
        64,
        64,
        14,
        3,
    )
    assert layer.hyperplanes is not None
    zeros = float((layer.hyperplanes[:10] == 0).mean())
    stats = outcome.stats[layer.name]
    by_hand = layer_cost(layer.shape, Compression(1 - stats[2] / stats[1], stats[3] / stats[0]), 10, zeros, "scaled")
    assert layer.cost(10, stats) == by_hand
    assert total_cost(list(layers.values()), {}, {}).reduction == 0


def test_layer_effects_single_out_a_layer(judge: Judge, compressed: onnx.ModelProto) -> None:
    effects = layer_effects(judge, compressed, LayerSetting(8))
    assert len(effects) == 6
    for effect in effects:
        others = [name for name in effect.alone.stats if name != effect.name]
        assert all(effect.alone.stats[name][1] == effect.alone.stats[name][2] for name in others), "others are dense"
        assert effect.alone.stats[effect.name][2] < effect.alone.stats[effect.name][1]
        assert 0 < effect.local_error < 1
    ordered = [effect.alone.quality.error for effect in sort_by_harm(effects)]
    assert ordered == sorted(ordered, reverse=True)


def test_local_error_is_that_of_the_layer_alone(
    compressed: onnx.ModelProto, images: Dataset, judge: Judge, stock: onnx.ModelProto
) -> None:
    """For the first compressed layer both views are the same, and can be had from its output."""
    first = next(haste_convs(compressed))
    probe = onnx.ModelProto()
    probe.CopyFrom(compressed_with(stock, Options(max_hyperplanes=16, layout="nchw")))
    probe.graph.output.append(onnx.helper.make_tensor_value_info(first.output[0], onnx.TensorProto.FLOAT, None))
    session = runtime_ops.Session(probe.SerializeToString(), options=session_options(1))
    outputs = {}
    for count in (0, 8):
        session.hyperplanes = count
        runs = [session.run(batch.feeds, [first.output[0]])[0] for batch in images.batches()]
        outputs[count] = np.concatenate(runs)
    expected = np.linalg.norm(outputs[8] - outputs[0]) / np.linalg.norm(outputs[0])
    local = LocalEffects(compressed, 1).measure(images, {first.name: LayerSetting(8)})
    assert local[first.name].error == pytest.approx(expected, rel=1e-4)
    assert all(effect.error == 0 for name, effect in local.items() if name != first.name)


def test_tau_is_steered_per_layer(judge: Judge, stock: onnx.ModelProto) -> None:
    steered = SteeredModel(judge, compressed_with(stock, Options(max_hyperplanes=8, hyperplanes=8, tau=0.1)))
    free = steered.judge(dict.fromkeys(steered.layers, LayerSetting(8)))
    bounded = steered.judge(dict.fromkeys(steered.layers, LayerSetting(8, 0.02)))
    assert bounded.quality.error < free.quality.error
    assert not any(value[7] for value in free.stats.values())
    assert all(value[7] for value in bounded.stats.values())


def test_steering_a_plain_model_is_refused(stock: onnx.ModelProto) -> None:
    with pytest.raises(ValueError, match="no HasteConv"):
        steer.per_layer(stock)


def test_fallback_bodies_are_not_mistaken_for_kernels(judge: Judge, compressed: onnx.ModelProto) -> None:
    session = runtime_ops.Session(instrument(compressed).SerializeToString(), library=False)
    with pytest.raises(NativeKernelsMissingError, match="haste doctor"):
        judge.judge(session)
