"""Files: what is read, what is written, and what is left when something goes wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from haste_export import compress, compress_with_report
from haste_export.errors import OptionError, OutputError, UnreadableModelError, UnsupportedModelError
from haste_export.io import default_target, load_model, report_path, write_json, write_text
from tests.exporter.models import assert_same_function, filters, haste_convs, op_types, random_feeds, run, text_model

BODY = "[a] p = Conv <pads = [1,1,1,1]> (x, w)\nr = Relu (p)\n[b] y = Conv <pads = [1,1,1,1]> (r, v)"


@pytest.fixture
def model() -> onnx.ModelProto:
    return text_model(BODY, {"w": filters(16, 16, 3, 3), "v": filters(64, 16, 3, 3)})


@pytest.fixture
def path(model: onnx.ModelProto, tmp_path: Path) -> Path:
    file = tmp_path / "net.onnx"
    onnx.save(model, file)
    return file


def test_a_path_gives_a_path_beside_it(path: Path, model: onnx.ModelProto, has_library: bool) -> None:
    target = compress(path, select="all")
    assert target == path.with_name("net.haste.onnx")
    document = json.loads(path.with_name("net.haste.json").read_text())
    assert [layer["status"] for layer in document["layers"]] == ["left", "rewritten"]
    assert document["summary"]["rewritten"] == 1
    assert document["target"] == str(target)
    assert document["layers"][1]["flops_regular"] == 2 * 9 * 8 * 9 * 16 * 64
    assert_same_function(model, onnx.load(target), library=has_library)


def test_a_string_gives_a_string(path: Path, tmp_path: Path) -> None:
    target = compress(str(path), str(tmp_path / "out.onnx"), select="all")
    assert target == str(tmp_path / "out.onnx")
    assert haste_convs(onnx.load(target))


@pytest.mark.parametrize(
    ("source", "target", "report"),
    [("a/net.onnx", "a/net.haste.onnx", "a/net.haste.json"), ("net.pb", "net.pb.haste.onnx", "net.pb.haste.json"),
     ("v1.2.onnx", "v1.2.haste.onnx", "v1.2.haste.json")],
)  # fmt: skip
def test_names_of_results(source: str, target: str, report: str) -> None:
    assert default_target(Path(source)) == Path(target)
    assert report_path(Path(target)) == Path(report)


def test_a_model_is_not_changed(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    compress(model, skip_first=0, select="all")
    assert model.SerializeToString(deterministic=True) == before


def test_nothing_to_rewrite_gives_the_original(model: onnx.ModelProto, path: Path) -> None:
    small, report = compress_with_report(model, skip_first=2, select="all")
    assert small == model
    assert small is not model
    assert not report.rewritten
    target, _ = compress_with_report(path, skip_first=2, select="all")
    assert op_types(onnx.load(target)) == op_types(model)
    assert not onnx.load(target).functions


def test_input_and_output_may_be_one_file(path: Path, model: onnx.ModelProto, has_library: bool) -> None:
    compress(path, path, select="all")
    assert_same_function(model, onnx.load(path), library=has_library)


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


@pytest.mark.parametrize("content", [b"", b"# no model\n", b"\x00" * 64, bytes(range(256)) * 8, b"\x08\x08"])
def test_what_is_not_onnx(content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    source.write_bytes(content)
    with pytest.raises(UnreadableModelError, match="not an ONNX model"):
        compress(source)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx"]


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_model(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableModelError, match="not an ONNX model, or is truncated"):
        compress(path)


def test_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(UnreadableModelError, match="cannot read"):
        compress(tmp_path / "none.onnx")
    with pytest.raises(UnreadableModelError, match="cannot read"):
        compress(tmp_path)


def test_an_empty_graph() -> None:
    with pytest.raises(UnsupportedModelError, match="graph is empty"):
        compress(text_model("", outputs="float[1,16,9,8] x"))


@pytest.mark.parametrize(("opset", "sentence"), [(999, "opset 999 is unknown"), (6, "opset 6 is too old")])
def test_unknown_opsets(model: onnx.ModelProto, opset: int, sentence: str) -> None:
    model.opset_import[0].version = opset
    with pytest.raises(UnsupportedModelError, match=sentence):
        compress(model)


def test_a_model_without_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]
    with pytest.raises(UnsupportedModelError, match="does not say which opset"):
        compress(model)


def test_a_compressed_model(model: onnx.ModelProto) -> None:
    with pytest.raises(UnsupportedModelError, match="compressed already"):
        compress(compress(model, select="all"))


def test_an_invalid_graph(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "y"  # a cycle
    with pytest.raises(UnreadableModelError, match="sort"):
        compress(model)


def test_two_nodes_that_write_one_value(model: onnx.ModelProto, tmp_path: Path) -> None:
    model.graph.node.append(onnx.helper.make_node("Relu", ["x"], ["y"]))
    onnx.save(model, tmp_path / "net.onnx")
    for given in (model, tmp_path / "net.onnx"):
        with pytest.raises(UnreadableModelError, match="redeclared"):
            compress(given)


def test_a_map_is_named(model: onnx.ModelProto) -> None:
    pair = onnx.TypeProto()
    pair.map_type.key_type = onnx.TensorProto.INT64
    pair.map_type.value_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    model.graph.node.append(onnx.helper.make_node("ZipMap", ["y"], ["m"], domain="ai.onnx.ml", classlabels_int64s=[0]))
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    model.graph.output.append(onnx.helper.make_value_info("m", onnx.helper.make_sequence_type_proto(pair)))
    with pytest.raises(UnsupportedModelError, match="'m', which is a map"):
        compress(model)


def test_a_sparse_tensor_is_named(model: onnx.ModelProto) -> None:
    values = onnx.numpy_helper.from_array(np.ones(2, np.float32), "values")
    sparse = onnx.helper.make_sparse_tensor(values, onnx.numpy_helper.from_array(np.array([0, 3])), [4])
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["s"], sparse_value=sparse))
    with pytest.raises(UnsupportedModelError, match=r"Sparse tensors are not supported yet$"):
        compress(model)


def test_an_output_that_cannot_be_written(path: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        compress(path, tmp_path / "none" / "out.onnx")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        compress(path, tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("external", [False, True])
def test_a_full_disk_leaves_the_old_file(path: Path, tmp_path: Path, external: bool) -> None:
    target = tmp_path / "out.onnx"
    target.write_bytes(b"old model")
    target.with_name("out.onnx.data").write_bytes(b"old weights")

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    script = (
        "import sys, haste_export as h; "
        "h.compress(sys.argv[1], sys.argv[2], external_data=sys.argv[3] == 'True', select='all')"
    )
    command = [sys.executable, "-c", script, str(path), str(target), str(external)]
    result = subprocess.run(command, preexec_fn=fill, capture_output=True, text=True, check=False, cwd=Path.cwd())
    assert result.returncode != 0
    assert "OutputError: cannot write" in result.stderr
    assert target.read_bytes() == b"old model"
    assert target.with_name("out.onnx.data").read_bytes() == b"old weights"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "out.onnx", "out.onnx.data"]


def test_links_and_permissions_survive(path: Path, tmp_path: Path) -> None:
    real, link = tmp_path / "real.onnx", tmp_path / "link.onnx"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    compress(path, link, select="all")
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert haste_convs(onnx.load(real))


@pytest.mark.parametrize("content", ["", "{}", "[1]", "default_level = 1", '{"schema": 1}'])
def test_a_file_that_is_no_report_is_not_replaced(path: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "out.json").write_text(content)
    with pytest.raises(OptionError, match=r"out.json would be overwritten by the report.*another output name.*--json"):
        compress(path, tmp_path / "out.onnx", select="all")
    assert (tmp_path / "out.json").read_text() == content
    assert not (tmp_path / "out.onnx").exists()


def test_an_earlier_report_is_replaced(path: Path) -> None:
    compress(path, skip_first=2, select="all")
    compress(path, select="all")
    assert json.loads(path.with_name("net.haste.json").read_text())["summary"]["rewritten"] == 1


def test_a_report_never_replaces_the_model_or_its_weights(model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(
        model,
        tmp_path / "net.json",
        format="protobuf",
        save_as_external_data=True,
        location="out.onnx.data",
        size_threshold=0,
    )
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(OptionError, match=r"net.json would be overwritten, and it is an input"):
        compress(tmp_path / "net.json", tmp_path / "net.onnx", select="all")
    with pytest.raises(OptionError, match=r"out.onnx.data would be overwritten, and it is an input"):
        compress(tmp_path / "net.json", tmp_path / "out.onnx", external_data=True, select="all")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("external", [False, True])
def test_a_report_that_cannot_be_written_leaves_all_files(path: Path, tmp_path: Path, external: bool) -> None:
    target = tmp_path / "out.onnx"
    target.write_bytes(b"old model")
    (tmp_path / "out.json").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        compress(path, target, external_data=external, select="all")
    assert target.read_bytes() == b"old model"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "out.json", "out.onnx"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("failing", [".onnx", ".json"])
def test_a_rename_that_fails_undoes_those_before_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, existing: bool, links: bool
) -> None:
    target = tmp_path / "out.onnx"
    if existing:
        compress(path, target, external_data=True, skip_first=0, select="all")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    replace = Path.replace

    def fail(self: Path, place: Path) -> Path:
        if self.suffix == ".part" and place.suffix == failing:
            raise PermissionError(13, "no", str(place))
        return replace(self, place)

    def no_links(self: Path, place: Path) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(Path, "replace", fail)
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(OutputError, match="cannot write"):
        compress(path, target, external_data=True, select="all", seed=3)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


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


def test_small_files_are_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    write_text("é\n", file)
    assert file.read_bytes() == "é\n".encode()

    def fail(self: Path, place: Path) -> Path:
        raise PermissionError(13, "no", str(place))

    monkeypatch.setattr(Path, "replace", fail)
    writes: tuple[Callable[[], None], ...] = (lambda: write_text("new", file), lambda: write_json({}, file))
    for write in writes:
        with pytest.raises(OutputError, match="cannot write"):
            write()
    assert file.read_bytes() == "é\n".encode()
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(OutputError, match="no Unicode text"):
        write_text("\ud800", file)


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        write_json([1], pipe)
        assert json.loads(reader.read()) == [1]
    assert pipe.is_fifo()


@pytest.mark.slow
def test_a_model_over_two_gigabytes(tmp_path: Path) -> None:
    """Weights of 2.2 GB, a hole in a file, pass through without being held in memory."""
    constants = {"w": filters(16, 16, 3, 3), "v": filters(64, 16, 3, 3)}
    model = text_model(BODY + "\nf = Flatten (y)\nz = MatMul (f, big)", constants, outputs="float[] z")
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


def test_weights_in_the_file_are_the_kernels_form(path: Path) -> None:
    written = onnx.load(compress(path, skip_first=0, select="all"))
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in written.graph.initializer}
    assert {arrays[node.input[1]].shape for node in haste_convs(written)} == {(1, 16, 9, 16), (4, 16, 9, 16)}
