from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from haste_export.data import sample_file, sample_model
from haste_export.evaluate.dataset import Dataset, load_dataset
from haste_export.evaluate.engine import Judge
from haste_export.evaluate.models import compressed_with, load_whole
from haste_export.evaluate.stats import haste_convs
from haste_export.evaluate.sweep import sweep_compressed
from haste_export.options import Options
from haste_export.plan import LayerSetting, Plan
from haste_export.tune.correct import LARGEST_GAIN, MomentMeter, Moments, attach, corrected, correction
from runtime_ops import LibraryNotFoundError, Session, library_path

COUNTS = (12, 8)


@pytest.fixture(scope="module")
def stock() -> onnx.ModelProto:
    try:
        library_path()
    except LibraryNotFoundError as error:
        pytest.skip(str(error))
    return load_whole(sample_model())


@pytest.fixture(scope="module")
def options(stock: onnx.ModelProto) -> Options:
    base = Options(merge="mean", sparsity=2 / 3, max_hyperplanes=12, hyperplanes=12)
    names = [node.name for node in haste_convs(compressed_with(stock, base))]
    return replace(base, plan=Plan(levels=tuple(dict.fromkeys(names, LayerSetting(count)) for count in COUNTS)))


@pytest.fixture(scope="module")
def images(stock: onnx.ModelProto) -> Dataset:
    return load_dataset(str(sample_file("tune")), stock).take(64)


def test_correction_by_hand() -> None:
    stock = Moments(np.array([1.0, 2.0, 0.0]), np.array([2.0, 1.0, 1.0]))
    ours = Moments(np.array([0.5, 2.0, 0.0]), np.array([1.6, 0.0, 0.1]))
    gain, bias = correction(stock, ours, np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(gain, [1.25, 1.0, LARGEST_GAIN], rtol=1e-6)
    np.testing.assert_allclose(bias, [1 - 1.25 * 0.4, 2 - 1.8, 0.6], rtol=1e-6)


def test_moments_become_stocks(stock: onnx.ModelProto, options: Options, images: Dataset) -> None:
    meter = MomentMeter(compressed_with(stock, replace(options, layout="nchw", weights="oihw")), images, 1)
    settings = options.plan.levels[1]
    tables = meter.calibrate(settings)
    assert list(tables) == list(settings)
    last = list(settings)[-1]
    before = {name: table for name, table in tables.items() if name != last}
    raw, exact = meter._measure(last, settings, before), meter._measure(last, {}, {})
    bias = meter._biases[last]
    gain, shift = tables[last].astype(float)
    np.testing.assert_allclose(gain * raw.deviation, exact.deviation, rtol=1e-4)
    np.testing.assert_allclose(gain * (raw.mean - bias) + shift, exact.mean, atol=1e-4)


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
