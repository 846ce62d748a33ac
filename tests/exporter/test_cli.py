"""`haste-export`: exit codes, tables, and no traceback for a user's mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper

import haste_export
import runtime_ops
from haste_export import reference
from haste_export.cli.export import command
from tests.exporter.models import filters, haste_convs, text_model

BODY = "[a] p = Conv <pads = [1,1,1,1]> (x, w)\nr = Relu (p)\n[b] y = Conv <pads = [1,1,1,1]> (r, w)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "net.onnx"
    onnx.save(text_model(BODY, {"w": filters(16, 16, 3, 3)}, inputs="float[n,16,h,9] x"), file)
    return file


def call(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["--select", "all", *(str(argument) for argument in arguments)])


def assert_error(result: Result, code: int, sentence: str) -> None:
    assert result.exit_code == code, result.output
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_one_command(path: Path) -> None:
    result = call(path)
    assert result.exit_code == 0, result.output
    assert "1 of 2 convolutions rewritten" in result.output
    assert "it is the first convolution" in result.output
    assert haste_convs(onnx.load(path.with_name("net.haste.onnx")))
    assert path.with_name("net.haste.json").exists()


def test_options_reach_the_model(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    result = call(
        path, out, "--hyperplanes", 9, "--sparsity", 0.25, "--merge", "mean", "--patch", 2, "--seed", 4,
        "--skip-first", 0, "--exclude", "re:^a", "--input-shape", "x:2,16,12,9", "--weights", "oihw",
        "--layout", "nchw", "--json", "-",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document["options"] | {"plan": None} == {
        "hyperplanes": 9, "max_hyperplanes": 32, "sparsity": 0.25, "merge": "mean", "patch": 2, "seed": 4, "tau": 0.0,
        "skip_first": 0, "include": [], "exclude": ["re:^a"], "input_shapes": {"x": [2, 16, 12, 9]}, "weights": "oihw",
        "layout": "nchw", "plan": None, "select": "all", "isa": "auto", "stats": False,
    }  # fmt: skip
    assert [layer["reason"] for layer in document["layers"]] == ["--exclude re:^a matches it", None]
    assert [(layer["height"], layer["width"]) for layer in document["layers"]] == [(12, 9), (12, 9)]
    assert [dim.dim_value for dim in onnx.load(out).graph.input[0].type.tensor_type.shape.dim] == [2, 16, 12, 9]


def test_float16_weights_are_counted_and_checked(path: Path, tmp_path: Path) -> None:
    result = call(path, tmp_path / "out.onnx", "--weights", "fp16", "--check", 1, "--input-shape", "x:1,16,12,9")
    assert result.exit_code == 0, result.output
    assert "Weights of 1 of 1 layers in float16: " in result.output
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["summary"]["weight_bytes_float32"] == 2 * report["summary"]["weight_bytes"]
    assert report["check"]["tolerance"] == 1e-2


def test_weights_that_stay_float32_are_named(path: Path, tmp_path: Path) -> None:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e7), tensor.name))
    onnx.save(model, tmp_path / "large.onnx")
    result = call(tmp_path / "large.onnx", "--weights", "fp16")
    assert result.exit_code == 0, result.output
    assert "Weights of 0 of 1 layers in float16: " in result.output
    assert "its weights stay float32: the largest is " in result.output.replace("\n", " ")


def test_the_report_goes_to_a_file(path: Path, tmp_path: Path) -> None:
    assert call(path, "--json", tmp_path / "copy.json").exit_code == 0
    assert json.loads((tmp_path / "copy.json").read_text()) == json.loads(path.with_name("net.haste.json").read_text())


def test_verbose_says_a_sentence_for_every_layer_left(path: Path) -> None:
    assert "Conv 'a': it is the first convolution, left alone." in call(path, "-v").output


def test_a_plan_is_followed(path: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"stay_conv": {"b": "it is slower"}, "levels": [{"a": 5}]}')
    result = call(path, "--skip-first", 0, "--plan", plan)
    assert result.exit_code == 0, result.output
    assert "it is slower" in result.output
    assert "haste_level" in result.output


def test_check_passes_and_says_what_ran(path: Path, has_library: bool) -> None:
    # Few hyperplanes, so that some of the 16 channels of noise merge.
    result = call(path, "--skip-first", 0, "--check", 2, "--input-shape", "x:1,16,8,9", "--hyperplanes", 4)
    assert result.exit_code == 0, result.output
    assert "Check passed over 2 runs" in result.output
    assert ("native kernels" if has_library else "fallback bodies") in result.output
    check = json.loads(path.with_name("net.haste.json").read_text())["check"]
    assert check["passed"] is True
    assert check["runs"] == 2
    assert check["dense_error"] <= check["tolerance"]
    assert (check["default_error"] > 1e-3) is has_library


def test_check_says_that_the_body_ran(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise runtime_ops.LibraryNotFoundError("none")

    monkeypatch.setattr(runtime_ops, "library_path", missing)
    result = call(path, "--check", 1, "--input-shape", "x:1,16,8,9")
    assert result.exit_code == 0, result.output
    assert "fallback bodies" in result.output


def test_check_takes_an_input(path: Path, tmp_path: Path) -> None:
    image = np.zeros((1, 16, 5, 9), np.float32)
    np.save(tmp_path / "x.npy", image)
    np.savez(tmp_path / "x.npz", x=image)
    for name in ("x.npy", "x.npz"):
        assert "over 1 run, by" in call(path, "--check-input", tmp_path / name).output
    (tmp_path / "bad.npy").write_text("no array")
    assert_error(call(path, "--check-input", tmp_path / "bad.npy"), 2, "cannot read the input")


def test_inputs_for_the_check_are_read_before_anything_is_written(path: Path, tmp_path: Path) -> None:
    image = np.zeros((1, 16, 5, 9), np.float32)
    np.savez(tmp_path / "whole.npz", x=image)
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "spoilt.npz").write_bytes(whole.replace(bytes(16), b"0123456789abcdef", 1))
    np.savez(tmp_path / "other.npz", z=image)
    np.savez(tmp_path / "more.npz", x=image, z=image)
    np.save(tmp_path / "double.npy", image.astype(np.float64))
    np.save(tmp_path / "flat.npy", image[0])
    np.save(tmp_path / "wide.npy", np.zeros((1, 16, 5, 8), np.float32))
    sentences = {
        "empty.npy": "cannot read the input", "cut.npz": "cannot read the input", "spoilt.npz": "cannot read the input",
        "other.npz": "no array for the input 'x'", "more.npz": "the model has no such input",
        "double.npy": "the model wants float32", "flat.npy": "the shape [16, 5, 9]", "wide.npy": "[?, 16, ?, 9]",
    }  # fmt: skip
    for name, sentence in sentences.items():
        assert_error(call(path, "--check-input", tmp_path / name), 2, sentence)
    assert not path.with_name("net.haste.onnx").exists()


def test_inputs_are_never_overwritten(path: Path, tmp_path: Path) -> None:
    plan = tmp_path / "tuned.json"
    plan.write_text('{"levels": [{"b": 5}]}')
    np.save(tmp_path / "out.json", np.zeros((1, 16, 5, 9), np.float32))
    (tmp_path / "out.json.npy").rename(tmp_path / "out.json")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    sentence = "would be overwritten, and it is an input"
    assert_error(call(path, tmp_path / "tuned.onnx", "--plan", plan), 2, sentence)
    assert_error(call(path, plan, "--plan", plan), 2, sentence)
    assert_error(call(path, tmp_path / "out.onnx", "--check-input", tmp_path / "out.json"), 2, sentence)
    assert_error(call(path, tmp_path / "new.onnx", "--json", path), 2, sentence)
    assert_error(call(path, tmp_path / "new.onnx", "--json", plan, "--plan", plan), 2, sentence)
    assert_error(call(path, tmp_path / "new.onnx", "--json", tmp_path / "new.onnx"), 2, "would overwrite the model")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_failed_check_is_exit_code_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haste_export.passes.pack.pack_weights", lambda weights: reference.pack(weights) * 1.01)
    assert_error(call(path, "--check", 1, "--input-shape", "x:1,16,8,9"), 1, "dense mode differs from the original")


def test_check_of_open_sizes_asks_for_them_and_writes_nothing(path: Path) -> None:
    result = call(path, "--check", 1)
    assert_error(result, 2, "input 'x' has open sizes; give --input-shape x:1,16,h,9 with numbers")
    assert [file.name for file in path.parent.iterdir()] == ["net.onnx"]


def test_the_shape_of_the_only_input_needs_no_name(path: Path) -> None:
    assert "Check passed over 1 run" in call(path, "--check", 1, "--input-shape", "1,16,8,9").output


def test_an_open_size_may_be_written_as_minus_one(path: Path) -> None:
    model = onnx.load(path)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = -1
    onnx.save(model, path)
    assert_error(call(path, "--check", 1), 2, "give --input-shape x:1,16,?,? with numbers")
    assert "Check passed over 1 run" in call(path, "--check", 1, "--input-shape", "x:1,16,8,9").output


def test_an_open_batch_alone_is_checked(path: Path) -> None:
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 8
    onnx.save(model, path)
    assert "Check passed over 1 run" in call(path, "--check", 1).output


def test_check_of_an_input_that_cannot_be_made_up(path: Path) -> None:
    model = onnx.load(path)
    model.graph.input.append(onnx.helper.make_tensor_value_info("text", onnx.TensorProto.STRING, [1]))
    onnx.save(model, path)
    result = call(path, "--check", 1, "--input-shape", "x:1,16,8,9")
    assert_error(result, 2, "no random values can be made for the input 'text' (STRING); give --check-input")
    assert [file.name for file in path.parent.iterdir()] == ["net.onnx"]


def test_check_needs_the_original(path: Path) -> None:
    before = path.read_bytes()
    assert_error(call(path, path, "--check", 1), 2, "--check needs the original")
    assert path.read_bytes() == before


def test_no_convolution_is_a_valid_end(tmp_path: Path) -> None:
    source = tmp_path / "net.onnx"
    onnx.save(text_model("y = Relu (x)"), source)
    result = call(source, "--check", 1)
    assert result.exit_code == 0, result.output
    assert "Nothing to do: it has no Conv." in result.output
    assert source.with_name("net.haste.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--exclude", "c"], "--exclude c matches no Conv"),
        (["--hyperplanes", "40"], "hyperplanes must be 0 to 32"),
        (["--merge", "sum"], "Invalid value for '--merge'"),
        (["--input-shape", "x"], "is not of the form NAME:1,3,224,224"),
        (["--input-shape", "x:1,a"], "is not of the form"),
        (["--input-shape", "z:1,2"], "no input 'z'"),
        (["--input-shape", "x:1,16,4,9", "--input-shape", "x:1,16,5,9"], "'x' is named twice"),
        (["--input-shape", "x:1,8,4,9"], "which [1, 8, 4, 9] contradicts"),
        (["--plan", "none.json"], "cannot read the plan"),
        (["--plan", "infinite.json"], "is not a plan"),
        (["--plan", "nan.toml"], "whole numbers"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_mistakes_in_options(path: Path, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    Path("infinite.json").write_text('{"levels": [{"a": Infinity}]}')
    Path("nan.toml").write_text('[hyperplanes]\n"a" = [nan]')
    assert_error(call(path, *arguments), 2, sentence)
    assert not path.with_name("net.haste.onnx").exists()


def test_unreadable_input_and_unwritable_output(path: Path, tmp_path: Path) -> None:
    assert_error(call(tmp_path / "none.onnx"), 2, "cannot read")
    (tmp_path / "text.onnx").write_text("hello")
    assert_error(call(tmp_path / "text.onnx"), 2, "is not an ONNX model")
    assert_error(call(path, tmp_path / "none" / "out.onnx"), 2, "cannot write")


def test_help_and_version() -> None:
    text = call("--help").output
    assert "Examples:" in text
    assert "haste-export model.onnx small.onnx --check 3" in text
    assert haste_export.__version__ in call("--version").output
    assert haste_export.__version__ == runtime_ops.__version__


@pytest.mark.parametrize("content", ["empty", "cut"])
def test_other_commands_refuse_broken_arrays_too(path: Path, tmp_path: Path, content: str) -> None:
    from haste_export.cli.main import command as main

    np.savez(tmp_path / "whole.npz", x=np.zeros((1, 16, 8, 9), np.float32))
    data = (tmp_path / "whole.npz").read_bytes()
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"" if content == "empty" else data[: len(data) // 2])
    result = CliRunner().invoke(main, ["bench", str(path), str(path), "--npy", str(broken)])
    assert_error(result, 2, "cannot read")
    result = CliRunner().invoke(main, ["eval", str(path), "--data", str(broken)])
    assert_error(result, 2, "cannot read")
