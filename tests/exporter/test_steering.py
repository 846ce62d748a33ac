"""What a running program feeds, and what it gets when it feeds nothing."""

import numpy as np
import onnx
import pytest

from haste_export import LayerSetting, Plan, compress, compress_with_report
from haste_export.errors import UnsupportedModelError
from haste_export.instrument import instrument, layer_of
from tests.exporter.models import (
    Array,
    assert_same_function,
    filters,
    haste_convs,
    initializer,
    op_types,
    random_feeds,
    relative_error,
    run,
    session,
    text_model,
)

BODY = "[a] p = Conv <pads = [1,1,1,1]> (x, w)\nr = Relu (p)\n[b] y = Conv <pads = [1,1,1,1]> (r, w)"


@pytest.fixture
def model() -> onnx.ModelProto:
    return text_model(BODY, {"w": filters(16, 16, 3, 3)}, inputs="float[1,16,18,18] x")


def buckets(small: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, float]:
    """Share of channels left after merging, by layer."""
    measured = instrument(small)
    names = [value.name for value in measured.graph.output]
    results = dict(zip(names, run(measured, feeds, library=True), strict=True))
    layers = {layer_of(name): value for name, value in results.items() if layer_of(name) is not None}
    return {str(layer): float(value[2] / value[1]) for layer, value in layers.items()}


def test_the_steering_input_need_not_be_fed(model: onnx.ModelProto) -> None:
    small, report = compress_with_report(model, skip_first=0, select="all", hyperplanes=9)
    assert report.steering == "haste_hyperplanes"
    assert initializer(small, "haste_hyperplanes") == 9
    inference = session(small)
    assert [node.name for node in inference.get_inputs()] == ["x"]
    assert [node.name for node in inference.get_overridable_initializers()] == ["haste_hyperplanes"]
    assert {node.input[4] for node in haste_convs(small)} == {"haste_hyperplanes"}


def test_feeding_it_changes_the_compression(model: onnx.ModelProto, has_library: bool) -> None:
    if not has_library:
        pytest.skip("the op library is not built")
    small = compress(model, skip_first=0, select="all", hyperplanes=2)
    feeds = random_feeds(model)
    coarse, fine = buckets(small, feeds), buckets(small, {**feeds, "haste_hyperplanes": np.array(32)})
    assert all(coarse[name] < fine[name] for name in ("a", "b"))
    dense = buckets(small, {**feeds, "haste_hyperplanes": np.array(0)})
    assert dense == {"a": 1.0, "b": 1.0}


def test_levels_give_every_layer_its_own(model: onnx.ModelProto, has_library: bool) -> None:
    plan = Plan(levels=({"a": LayerSetting(2), "b": LayerSetting(0)}, {"a": LayerSetting(32)}), default_level=1)
    small, report = compress_with_report(model, skip_first=0, select="all", hyperplanes=3, plan=plan)
    assert (report.steering, report.levels) == ("haste_level", 3)
    assert [layer.hyperplanes for layer in report.layers] == [2, 0]
    assert list(initializer(small, "a/level_hyperplanes_table")) == [0, 2, 32]
    assert list(initializer(small, "b/level_hyperplanes_table")) == [0, 0, 3]
    assert initializer(small, "haste_level") == 1
    assert op_types(small) == ["HasteLevel", "HasteLevel", "HasteConv", "HasteConv"]
    assert_same_function(model, small, library=has_library)
    if has_library:
        feeds = random_feeds(model)
        first, second = buckets(small, feeds), buckets(small, {**feeds, "haste_level": np.array(2)})
        assert first["b"] == 1.0
        assert first["a"] < second["a"]
        assert second["b"] < 1.0


@pytest.mark.parametrize("opset", [7, 11, 18])
def test_levels_that_there_are_not(model: onnx.ModelProto, has_library: bool, opset: int) -> None:
    """Below 0 the model is dense, as with L; above the last level it refuses to run."""
    older = onnx.ModelProto()
    older.CopyFrom(model)
    older.opset_import[0].version = opset
    plan = Plan(levels=({"a": LayerSetting(2, 0.1), "b": LayerSetting(3)},))
    small = compress(older, skip_first=0, select="all", plan=plan)
    feeds = random_feeds(older)
    levels = {level: {**feeds, "haste_level": np.array(level)} for level in (-(2**40), -2, -1, 0, 2, 2**40)}
    if has_library:
        assert buckets(small, feeds) != {"a": 1.0, "b": 1.0}
        for level in (-(2**40), -2, -1, 0):
            assert buckets(small, levels[level]) == {"a": 1.0, "b": 1.0}
    for level in (2, 2**40):
        with pytest.raises(Exception, match="indices element out of data bounds"):
            run(small, levels[level])
        if has_library:
            with pytest.raises(Exception, match=f"there is no level {level}; .* from 0, dense, to 1"):
                run(small, levels[level], library=True)


def test_tau_is_an_input_of_every_layer(model: onnx.ModelProto, has_library: bool) -> None:
    small, report = compress_with_report(model, skip_first=0, select="all", tau=0.1, hyperplanes=5)
    assert {node.input[6] for node in haste_convs(small)} == {"haste_tau"}
    assert initializer(small, "haste_tau") == np.float32(0.1)
    assert not any(name == "" for node in haste_convs(small) for name in node.input)
    assert report.layers[0].tau == 0.1
    assert_same_function(model, small, library=has_library)
    if has_library:
        feeds = random_feeds(model)
        expected = run(model, feeds)
        free = run(small, {**feeds, "haste_tau": np.array(0, np.float32)}, library=True)
        assert relative_error(expected, run(small, feeds, library=True)) < relative_error(expected, free)


def test_tau_follows_the_level(model: onnx.ModelProto, has_library: bool) -> None:
    plan = Plan(levels=({"a": LayerSetting(8, 0.5)},))
    small, report = compress_with_report(model, skip_first=0, select="all", plan=plan)
    assert list(initializer(small, "a/level_tau_table")) == [0, 0.5]
    assert [layer.tau for layer in report.layers] == [0.5, 0]
    assert_same_function(model, small, library=has_library)


def test_a_model_that_uses_the_name_is_refused() -> None:
    model = text_model("haste_hyperplanes = Relu (x)\ny = Conv (haste_hyperplanes, w)", {"w": filters(16, 16, 3, 3)})
    with pytest.raises(UnsupportedModelError, match="'haste_hyperplanes' already"):
        compress(model, skip_first=0, select="all")


def test_instrumented_outputs_are_zero_where_the_body_ran(model: onnx.ModelProto) -> None:
    small = compress(model, skip_first=0, select="all")
    before = small.SerializeToString()
    measured = instrument(small)
    assert small.SerializeToString() == before
    onnx.checker.check_model(measured, full_check=True)
    assert [value.name for value in measured.graph.output] == ["y", "haste_stats/a", "haste_stats/b"]
    _, *stats = run(measured, random_feeds(model))
    assert all((value == np.zeros(8)).all() for value in stats)


def test_instrumenting_twice_changes_nothing_more(model: onnx.ModelProto) -> None:
    once = instrument(compress(model, skip_first=0, select="all"))
    names = [value.name for value in once.graph.output]
    twice = instrument(once)
    assert [value.name for value in twice.graph.output] == names


def test_hyperplanes_are_in_the_file(model: onnx.ModelProto) -> None:
    small = compress(model, skip_first=0, select="all", max_hyperplanes=20, patch=2, seed=5)
    planes = [initializer(small, node.input[3]) for node in haste_convs(small)]
    assert [value.shape for value in planes] == [(20, 16), (20, 16)]
    assert (planes[0] != planes[1]).any()
    assert small == compress(model, skip_first=0, select="all", max_hyperplanes=20, patch=2, seed=5)
    other = compress(model, skip_first=0, select="all", max_hyperplanes=20, patch=2, seed=6)
    assert (initializer(other, haste_convs(other)[0].input[3]) != planes[0]).any()


def test_provenance_is_in_the_metadata(model: onnx.ModelProto) -> None:
    small = compress(model, skip_first=0, select="all", merge="mean", seed=3, hyperplanes=12, sparsity=0.25)
    props = {entry.key: entry.value for entry in small.metadata_props}
    assert props["haste.method"] == "mean"
    assert props["haste.seed"] == "3"
    assert props["haste.hyperplanes"] == "12"
    assert props["haste.sparsity"] == "0.25"
    assert props["haste.patch"] == "auto"
    assert props["haste.version"]
    assert [(entry.domain, entry.version) for entry in small.opset_import if entry.domain == "ai.haste"] == [
        ("ai.haste", 1)
    ]


def test_activations_have_their_shapes_in_the_file(model: onnx.ModelProto) -> None:
    small = compress(model, skip_first=0, select="all")
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in small.graph.value_info
    }
    assert shapes[haste_convs(small)[0].output[0]] == [1, 16, 18, 18]
