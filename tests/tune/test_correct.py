from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from haste_export import contract
from haste_export.data import sample_file
from haste_export.evaluate.dataset import Dataset, load_dataset
from haste_export.evaluate.engine import Judge
from haste_export.evaluate.models import compressed_with
from haste_export.evaluate.stats import Layer, haste_convs
from haste_export.evaluate.sweep import sweep_compressed
from haste_export.flops import LayerShape
from haste_export.options import Options
from haste_export.plan import LayerSetting, Plan
from haste_export.tune.correct import (
    FEWEST_SAMPLES,
    LARGEST_GAIN,
    MOST_SAMPLES,
    MomentMeter,
    Moments,
    attach,
    corrected,
    correction,
    in_plain_layout,
    samples_to_use,
)
from runtime_ops import Session

COUNTS = (12, 8)


@pytest.fixture(scope="module")
def options(stock: onnx.ModelProto) -> Options:
    base = Options(merge="mean", sparsity=2 / 3, max_hyperplanes=12, hyperplanes=12)
    names = [node.name for node in haste_convs(compressed_with(stock, base))]
    return replace(base, plan=Plan(levels=tuple(dict.fromkeys(names, LayerSetting(count)) for count in COUNTS)))


def test_correction_by_hand() -> None:
    stock = Moments(np.array([1.0, 2.0, 0.0]), np.array([2.0, 1.0, 1.0]))
    ours = Moments(np.array([0.5, 2.0, 0.0]), np.array([1.6, 0.0, 0.1]))
    gain, bias = correction(stock, ours, np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(gain, [1.25, 1.0, LARGEST_GAIN], rtol=1e-6)
    np.testing.assert_allclose(bias, [1 - 1.25 * 0.4, 2 - 1.8, 0.6], rtol=1e-6)


def outputs_before_epilogues(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose outputs are those of every HasteConv without residual and activation."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.float32), "no_residual"))
    nodes = list(copy.graph.node)
    del copy.graph.node[:], copy.graph.output[:]
    for node in nodes:
        if node.domain == contract.DOMAIN and node.op_type == contract.CONV:
            twin = copy.graph.node.add()
            twin.CopyFrom(node)
            twin.name, twin.output[0], twin.input[contract.Z] = f"{node.name}/twin", f"{node.name}/out", "no_residual"
            for attribute in [item for item in twin.attribute if item.name.startswith("activation")]:
                twin.attribute.remove(attribute)
            copy.graph.output.append(helper.make_tensor_value_info(twin.output[0], TensorProto.FLOAT, None))
        copy.graph.node.append(node)
    return copy


def moments(session: Session, images: Dataset, level: int) -> dict[str, Moments]:
    session.level = level
    batches = [session.run(batch.feeds) for batch in images.batches()]
    names = [output.name.removesuffix("/out") for output in session.inference.get_outputs()]
    return {name: Moments.of(outputs) for name, outputs in zip(names, zip(*batches, strict=True), strict=True)}


def test_moments_become_stocks_in_all_layers(stock: onnx.ModelProto, options: Options, images: Dataset) -> None:
    plain = replace(options, layout="nchw", weights="oihw")
    session = Session(outputs_before_epilogues(corrected(stock, plain, images, 1)).SerializeToString())
    exact, ours = moments(session, images, 0), moments(session, images, 2)
    assert list(exact) == list(options.plan.levels[1])
    for name, expected in exact.items():
        scale = expected.deviation.max()
        gained = np.abs(ours[name].deviation / expected.deviation - 1) < 1e-3
        assert gained.mean() > 0.9, "the others' gains are limited"
        np.testing.assert_allclose(ours[name].mean, expected.mean, atol=1e-3 * scale)


def test_one_layer_alone_is_a_calibration_of_it_alone(
    stock: onnx.ModelProto, options: Options, images: Dataset
) -> None:
    meter = MomentMeter(in_plain_layout(stock, options), images, 1)
    settings = options.plan.levels[1]
    together = meter.alone(settings)
    assert tuple(together) == meter.layers
    for name in (meter.layers[0], meter.layers[-1]):
        np.testing.assert_allclose(together[name], meter.calibrate({name: settings[name]})[name], rtol=1e-6)


def test_the_batch_size_does_not_matter(stock: onnx.ModelProto, options: Options) -> None:
    settings = options.plan.levels[1]
    ones, many = (
        MomentMeter(in_plain_layout(stock, options), load_dataset(str(sample_file("tune")), stock, size).take(32), 1)
        for size in (1, 32)
    )
    for name, table in ones.calibrate(settings).items():
        np.testing.assert_allclose(table, many.calibrate(settings)[name], rtol=1e-3, atol=1e-3)


def test_large_images_mean_fewer_samples() -> None:
    def layer(side: int) -> Layer:
        return Layer("a", True, LayerShape(64, 64, side, side, 3, 3))

    assert samples_to_use([layer(28)]) == MOST_SAMPLES
    assert samples_to_use([layer(28), layer(240)]) == 2**30 // (4 * 256 * 240**2)
    assert samples_to_use([layer(4000)]) == FEWEST_SAMPLES


def test_a_corrected_model_is_closer_and_its_dense_level_exact(
    stock: onnx.ModelProto, options: Options, images: Dataset
) -> None:
    better = corrected(stock, options, images, 1)
    onnx.checker.check_model(better, full_check=True)
    unseen = load_dataset(str(sample_file("test")), stock).take(256)
    judge = Judge(stock, unseen, 1)
    plain = list(sweep_compressed(judge, compressed_with(stock, options), [0, 1, 2]))
    ours = list(sweep_compressed(judge, better, [0, 1, 2]))
    assert ours[0].error == plain[0].error < 1e-5
    assert ours[2].error < 0.75 * plain[2].error
    assert ours[2].agreement > plain[2].agreement
    assert ours[1].error < plain[1].error


def test_without_the_library_it_is_exact(stock: onnx.ModelProto, options: Options, images: Dataset) -> None:
    better = corrected(stock, options, images, 1)
    feeds = next(images.batches()).feeds
    exact = Session(stock.SerializeToString(), library=False).run(feeds)[0]
    np.testing.assert_allclose(Session(better.SerializeToString(), library=False).run(feeds)[0], exact, atol=1e-5)


def test_no_corrections_change_nothing(stock: onnx.ModelProto, options: Options, images: Dataset) -> None:
    feeds = next(images.batches()).feeds
    plain, neutral = (
        Session(model.SerializeToString())
        for model in (compressed_with(stock, options), attach(compressed_with(stock, options), [{}, {}]))
    )
    np.testing.assert_array_equal(plain.run(feeds)[0], neutral.run(feeds)[0])
