"""Weights in a file of their own, read and written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from haste_export import compress, compress_with_report
from haste_export.errors import UnreadableModelError
from haste_export.io import load_model
from tests.exporter.models import TWO_CONVS, assert_same_function, filters, haste_convs, random_feeds, run, text_model


@pytest.mark.parametrize("same", [True, False])
def test_external_data_in_and_out(model: onnx.ModelProto, tmp_path: Path, same: bool) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(onnx.ModelProto.FromString(model.SerializeToString()), source, save_as_external_data=True,
              location="net.onnx.data", size_threshold=0)  # fmt: skip
    target = compress(source, source if same else tmp_path / "out.onnx", external_data=True, skip_first=0, select="all")
    written = onnx.load(target, load_external_data=False)
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in written.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    }
    assert set(places) == {"w/packed", "v/packed", "a/hyperplanes", "b/hyperplanes"}
    assert {place["location"] for place in places.values()} == {f"{target.name}.data"}
    assert all(int(place["offset"]) % 4096 == 0 for place in places.values())
    onnx.checker.check_model(str(target), full_check=True)
    feeds = random_feeds(model)
    assert np.allclose(run(model, feeds)[0], run(onnx.load(target), feeds)[0], atol=1e-5)


def test_external_data_becomes_internal_by_default(model: onnx.ModelProto, tmp_path: Path, has_library: bool) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    source = folder / "net.onnx"
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.save(copy, source, save_as_external_data=True, location="weights.bin", size_threshold=0)
    target = compress(source, tmp_path / "out.onnx", select="all")
    (folder / "weights.bin").unlink()
    assert_same_function(model, onnx.load(target), library=has_library)


def test_missing_external_data(model: onnx.ModelProto, tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(model, source, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(UnreadableModelError, match=r"weights.bin is truncated \(5 of"):
        compress(source)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UnreadableModelError, match=r"weights.bin is missing"):
        compress(source)


CONSTANTS = """
    c = Constant <value = float[16,16,1,1] {{{zeros}}}> ()
    p = Conv (x, c)
    q = test.add (p)
    y = If (flag) <
        then_branch = then_body () => (float[1,16,9,8] t) {{ k = Constant <value = float[4] {{1, 2, 3, 4}}> ()
            s = ReduceSum (k) t = Add (q, s) }},
        else_branch = else_body () => (float[1,16,9,8] e) {{ e = Neg (q) }}>"""


ADD = """<domain: "test", opset_import: ["": 17]> add (i) => (o) { k = Constant <value = float[2] {5, 6}> ()
    s = ReduceSum (k) o = Add (i, s) }"""


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("rewritten", [False, True])
def test_external_data_in_attributes(tmp_path: Path, external: bool, rewritten: bool) -> None:
    """Constants of the graph, of a branch and of a local function lie in the file of weights."""
    body = CONSTANTS.format(zeros=", ".join(["0.5"] * 256))
    model = text_model(body, inputs="float[1,16,9,8] x, bool flag", functions=ADD)
    folder = tmp_path / "in"
    folder.mkdir()
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    bodies = [copy.graph, copy.functions[0], copy.graph.node[-1].attribute[0].g]
    data = b""
    for part in bodies:
        tensor = part.node[0].attribute[0].t
        raw = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("float_data")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "net.bin"), ("offset", str(len(data))), ("length", str(len(raw)))):
            tensor.external_data.add(key=key, value=value)
        data += raw
    (folder / "net.onnx").write_bytes(copy.SerializeToString())
    with pytest.raises(UnreadableModelError, match=r"net.bin is missing"):
        compress(folder / "net.onnx")
    (folder / "net.bin").write_bytes(data)
    skip = 0 if rewritten else 1
    target = compress(folder / "net.onnx", tmp_path / "out.onnx", external_data=external, skip_first=skip, select="all")
    (folder / "net.bin").unlink()
    written = onnx.load(target)
    assert len(haste_convs(written)) == rewritten
    feeds = {**random_feeds(text_model(body)), "flag": np.array(True)}
    assert np.allclose(run(model, feeds)[0], run(written, feeds)[0], rtol=1e-5, atol=1e-5)


def test_weights_go_beside_the_file_behind_a_link(path: Path, tmp_path: Path, model: onnx.ModelProto) -> None:
    real, link = tmp_path / "store" / "real.onnx", tmp_path / "link.onnx"
    real.parent.mkdir()
    real.write_bytes(b"old")
    link.symlink_to(real)
    compress(path, link, external_data=True, skip_first=0, select="all")
    assert link.is_symlink()
    assert sorted(file.name for file in real.parent.iterdir()) == ["real.onnx", "real.onnx.data"]
    assert not (tmp_path / "link.onnx.data").exists()
    feeds = random_feeds(model)
    assert np.allclose(run(model, feeds)[0], run(onnx.load(real), feeds)[0], atol=1e-5)
    assert len(load_model(link).graph.initializers) > 2, "a link to a model is read with the weights beside the model"


@pytest.mark.slow
def test_a_model_over_two_gigabytes(tmp_path: Path) -> None:
    """Weights of 2.2 GB, a hole in a file, pass through without being held in memory."""
    constants = {"w": filters(16, 16, 3, 3), "v": filters(64, 16, 3, 3)}
    model = text_model(TWO_CONVS + "\nf = Flatten (y)\nz = MatMul (f, big)", constants, outputs="float[] z")
    columns = 2_200_000_000 // (4 * 64 * 72)
    big = onnx.TensorProto(name="big", data_type=onnx.TensorProto.FLOAT, dims=[64 * 72, columns],
                           data_location=onnx.TensorProto.EXTERNAL)  # fmt: skip
    length = 4 * 64 * 72 * columns
    for key, value in (("location", "big.bin"), ("offset", "0"), ("length", str(length))):
        big.external_data.add(key=key, value=value)
    model.graph.initializer.append(big)
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(length)
    source = tmp_path / "net.onnx"
    onnx.save(model, source)
    target, report = compress_with_report(source, select="all")
    try:
        assert len(report.rewritten) == 1
        assert target.stat().st_size < 1_000_000
        assert target.with_name(f"{target.name}.data").stat().st_size >= length
        onnx.checker.check_model(str(target), full_check=True)
    finally:
        target.with_name(f"{target.name}.data").unlink()
