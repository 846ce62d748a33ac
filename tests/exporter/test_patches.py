"""Which patch a layer gets: the choice itself, and models whose layers get different ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import runtime_ops
from haste_export import Plan, compress, compress_with_report
from haste_export.cli.export import command
from haste_export.errors import OptionError
from haste_export.evaluate.stats import model_layers
from haste_export.inspection import break_even
from haste_export.instrument import instrument
from haste_export.membus.layers import cut_layers
from haste_export.options import Options
from haste_export.patches import choose, patch_of
from haste_export.reference import haste_conv
from tests.built import require_library
from tests.exporter.models import (
    assert_same_function,
    attributes,
    filters,
    haste_convs,
    initializer,
    random_feeds,
    relative_error,
    run,
    text_model,
    vector,
)

# Maps of 16, 8 and 4 pixels behind one another, three layers with the same weights, two kernels that are not 3x3.
MIXED = """
[a] a0 = Conv <pads = [1,1,1,1]> (x, w, b0)
a1 = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a0)
[b] b1 = Conv <pads = [1,1,1,1]> (a1, w)
[pointwise] b2 = Conv (b1, v)
b3 = MaxPool <kernel_shape = [2,2], strides = [2,2]> (b2)
[c] c0 = Conv <pads = [1,1,1,1]> (b3, w)
[wide] y = Conv <pads = [2,2,2,2]> (c0, u)
"""
PATCHES = {"a": 7, "b": 6, "pointwise": 3, "c": 4, "wide": 3}


def mixed(batch: str = "1", side: str = "16") -> onnx.ModelProto:
    weights = {"w": filters(16, 16, 3, 3), "v": filters(16, 16, 1, 1), "u": filters(20, 16, 5, 5), "b0": vector(16)}
    return text_model(MIXED, weights, inputs=f"float[{batch},16,{side},{side}] x")


def patches(model: onnx.ModelProto) -> dict[str, int]:
    return {node.name: attributes(node)["patch"] for node in haste_convs(model)}


SQUARES = {
    7: (7, 14, 16, 28, 32, 56, 60, 112, 120, 224, 240),
    6: (1, 3, 5, 8, 9, 15, 30),  # at 30 both take 50 points an axis; up to 3 pixels are one tile of 3
    4: (4,),
}


@pytest.mark.parametrize(("side", "patch"), [(side, patch) for patch, sides in SQUARES.items() for side in sides])
def test_square_maps(side: int, patch: int) -> None:
    assert choose((3, 3), side, side) == patch


@pytest.mark.parametrize(
    ("height", "width", "patch"),
    [
        (7, 30, 7),  # 11·50 products per bucket and output channel; with patches of 6, 15·50
        (15, 30, 6),  # 25·50; with patches of 7, 28·50
        (4, 8, 7),  # 6·17; with patches of 6, 10·15; with patches of 4, 6·12, but the map is larger than one
        (1, 4, 4),  # 6·6; with patches of 6, 5·10; with patches of 7, 6·6 too
    ],
)
def test_other_maps(height: int, width: int, patch: int) -> None:
    assert choose((3, 3), height, width) == choose((3, 3), width, height) == patch


def test_the_choice_has_the_fewest_products() -> None:
    """By the points of whole and of cut patches, written out."""

    def points(size: int, patch: int) -> int:
        few, fewer, whole = {4: (4, 6, 6), 6: (3, 5, 10), 7: (4, 6, 11)}[patch]
        rest = size % patch
        return size // patch * whole + (0 if not rest else fewer if rest <= few else whole)

    for height in range(1, 65):
        for width in range(1, 65):
            products = {patch: points(height, patch) * points(width, patch) for patch in (4, 6, 7)}
            if max(height, width) > 4:
                del products[4]
            assert choose((3, 3), height, width) == min(products, key=lambda patch: (products[patch], patch))


@pytest.mark.parametrize("kernel", [(1, 1), (1, 3), (3, 1), (5, 5), (2, 2), (7, 7)])
@pytest.mark.parametrize("size", [4, 28, None])
def test_other_kernels_keep_the_operators_default(kernel: tuple[int, int], size: int | None) -> None:
    assert choose(kernel, size, size) == 3


@pytest.mark.parametrize("size", [(None, None), (4, None), (None, 30)])
def test_sizes_that_are_not_known(size: tuple[int | None, int | None]) -> None:
    assert choose((3, 3), *size) == 7


def test_a_number_is_for_all_layers() -> None:
    assert {patch_of(5, kernel, size, size) for kernel in ((3, 3), (1, 1)) for size in (4, 30, None)} == {5}
    assert set(patches(compress(mixed(), skip_first=0, select="all", patch=5)).values()) == {5}


def test_several_patches_in_one_model(has_library: bool) -> None:
    model = mixed()
    small, report = compress_with_report(model, skip_first=0, select="all")
    assert patches(small) == PATCHES
    assert {layer.name: layer.patch for layer in report.layers} == PATCHES
    assert {entry["name"]: entry["patch"] for entry in report.to_json()["layers"]} == PATCHES
    assert {entry.key: entry.value for entry in small.metadata_props}["haste.patch"] == "auto"
    for node in haste_convs(small):
        kernel = attributes(node)["kernel_shape"]
        window = (PATCHES[node.name] + kernel[0] - 1) * (PATCHES[node.name] + kernel[1] - 1)
        assert initializer(small, node.input[3]).shape == (32, window)
    assert_same_function(model, small, library=has_library)


def test_layers_that_share_weights_have_hyperplanes_of_their_own() -> None:
    small = compress(mixed(), skip_first=0, select="all")
    nodes = {node.name: node for node in haste_convs(small)}
    assert len({nodes[name].input[1] for name in "abc"}) == 1
    assert len({nodes[name].input[3] for name in "abc"}) == 3


@pytest.mark.parametrize("count", [0, 3, 12])
def test_every_layer_computes_what_the_reference_does(count: int) -> None:
    """On the inputs that it gets from the layers before it, so that no rounding turns into another bucket."""
    require_library()
    small = instrument(compress(mixed(), skip_first=0, select="all", layout="nchw", weights="oihw", hyperplanes=count))
    nodes = haste_convs(small)
    inner = [name for node in nodes for name in (node.input[0], node.output[0]) if name not in ("x", "y")]
    small.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in dict.fromkeys(inner))
    feeds = random_feeds(mixed())
    names = [value.name for value in small.graph.output]
    values = {**feeds, **dict(zip(names, run(small, feeds, library=True), strict=True))}
    for node in nodes:
        given = attributes(node)
        weights, bias, planes = (initializer(small, name) for name in node.input[1:4])
        pads, patch = tuple(given["pads"]), PATCHES[node.name]
        expected = haste_conv(values[node.input[0]], weights, bias, planes, count, pads=pads, patch=patch)
        assert relative_error([expected.y], [values[node.output[0]]]) < 1e-5, node.name
        np.testing.assert_array_equal(values[node.output[1]], expected.stats, err_msg=node.name)


def test_both_layouts_agree() -> None:
    require_library()
    blocked, plain = (compress(mixed(), skip_first=0, select="all", layout=name) for name in ("blocked", "nchw"))
    feeds = {**random_feeds(mixed()), "haste_hyperplanes": np.array(3)}
    assert relative_error(run(plain, feeds, library=True), run(blocked, feeds, library=True)) < 1e-5


@pytest.mark.parametrize("side", [4, 13, 16])
def test_open_sizes(side: int, has_library: bool) -> None:
    model = mixed("n", "side")
    small, report = compress_with_report(model, skip_first=0, select="all")
    assert patches(small) == {"a": 7, "b": 7, "pointwise": 3, "c": 7, "wide": 3}
    assert [layer.height for layer in report.layers] == [None] * 5
    assert_same_function(model, small, library=has_library, dynamic=side)


def test_an_open_batch_is_no_open_size() -> None:
    assert patches(compress(mixed("n"), skip_first=0, select="all")) == PATCHES


def test_a_size_that_is_given_counts() -> None:
    small = compress(mixed("n", "side"), skip_first=0, select="all", input_shapes={"x": (1, 16, 16, 16)})
    assert patches(small) == PATCHES


def test_the_plan_has_the_last_word() -> None:
    plan = Plan(patches={"b": 3, "c": 7})
    small, report = compress_with_report(mixed(), skip_first=0, select="all", plan=plan)
    assert patches(small) == {**PATCHES, "b": 3, "c": 7}
    assert report.layer("b").patch == 3
    assert patches(compress(mixed(), skip_first=0, select="all", plan=plan, patch=5))["c"] == 7
    with pytest.raises(OptionError, match="the plan names 'd', and the model has no such Conv"):
        compress(mixed(), plan=Plan(patches={"d": 3}))
    with pytest.raises(OptionError, match="the patch of 'b' must be 1 to 16, not 0"):
        Plan(patches={"b": 0})


def test_costs_are_those_of_each_layers_patch() -> None:
    small, report = compress_with_report(mixed(), skip_first=0, select="all")
    assert {layer.name: layer.shape.patch for layer in report.layers if layer.shape is not None} == PATCHES
    layers = {layer.name: layer for layer in model_layers(small, random_feeds(mixed()))}
    assert {name: layer.shape.patch for name, layer in layers.items()} == PATCHES
    assert {name: layer.shape for name, layer in layers.items()} == {layer.name: layer.shape for layer in report.layers}
    _, at_three = compress_with_report(mixed(), skip_first=0, select="all", patch=3)
    ours, theirs = (found.layer("a").shape for found in (report, at_three))
    assert ours is not None
    assert theirs is not None
    assert break_even(ours, Options()) != break_even(theirs, Options())


def test_layers_cut_out_for_the_memory_bus_have_their_patches(tmp_path: Path) -> None:
    require_library()
    feeds, small = random_feeds(mixed()), compress(mixed(), skip_first=0, select="all")
    pairs = cut_layers(mixed(), small, (feeds, feeds), runtime_ops.library_path(), tmp_path)
    assert {pair.name: pair.shape.patch for pair in pairs} == PATCHES


def export(tmp_path: Path, *arguments: object) -> tuple[dict[str, int], dict[str, Any], str]:
    """The patches in the model, its report, and what was printed."""
    onnx.save(mixed("n", "side"), tmp_path / "net.onnx")
    fixed = ["--select", "all", "--skip-first", "0", "--input-shape", "x:1,16,16,16"]
    result = CliRunner().invoke(command, [str(tmp_path / "net.onnx"), *fixed, *map(str, arguments)])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "net.haste.json").read_text())
    return patches(onnx.load(tmp_path / "net.haste.onnx")), report, result.output


def test_command_line(tmp_path: Path) -> None:
    found, report, output = export(tmp_path)
    assert found == PATCHES
    assert report["options"]["patch"] == "auto"
    lines = {line.split()[0]: line.split() for line in output.splitlines() if line.split()}
    place = lines["layer"].index("p")  # "C → M" are three words in the head and in the rows
    assert {name: int(lines[name][place]) for name in PATCHES} == PATCHES
    assert export(tmp_path, "--patch", "auto")[0] == PATCHES
    found, report, _ = export(tmp_path, "--patch", 3)
    assert set(found.values()) == {report["options"]["patch"]} == {3}


@pytest.mark.parametrize("text", ["0", "17", "three", "-1", "3.5"])
def test_patches_that_there_are_not(tmp_path: Path, text: str) -> None:
    result = CliRunner().invoke(command, [str(tmp_path / "net.onnx"), "--patch", text])
    assert result.exit_code == 2
    assert "patch must be auto or 1 to 16" in result.output.replace("\n", " ")


def test_plan_files(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("[options]\npatch = 3\n[hyperplanes]\na = 9\nb = 9\n")
    found, report, _ = export(tmp_path, "--plan", plan)
    assert set(found.values()) == {report["options"]["patch"]} == {3}, "as such a plan has always meant"
    plan.write_text('[options]\npatch = "auto"\n[hyperplanes]\na = 9\nb = 9\n[patch]\na = 6\nb = 7\n')
    assert export(tmp_path, "--plan", plan)[0] == {**PATCHES, "a": 6, "b": 7}
    assert export(tmp_path, "--plan", plan, "--patch", "auto")[0] == PATCHES
    assert set(export(tmp_path, "--plan", plan, "--patch", 5)[0].values()) == {5}
    (tmp_path / "plan.json").write_text('{"levels": [{"a": 9}], "patch": {"a": 6}}')
    assert export(tmp_path, "--plan", tmp_path / "plan.json")[0] == {**PATCHES, "a": 6}
