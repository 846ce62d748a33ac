"""Whose fault it is when a pass fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from haste_export import compress
from haste_export.cli.main import command
from haste_export.errors import DefectError, MissingDependencyError, UnreadableModelError
from haste_export.evaluate.models import compressed_with
from haste_export.options import Options
from haste_export.passes.identities import RemoveIdentities
from tests.exporter.models import filters, text_model

BODY = "a = Conv <pads = [1,1,1,1]> (x, w)\n b = Relu (a)\n y = Conv (b, w)"


@pytest.fixture
def model() -> onnx.ModelProto:
    """Its output has no shape, which ONNX's check refuses and runtimes take."""
    return text_model(BODY, {"w": filters(16, 16, 3, 3)})


@pytest.fixture
def path(model: onnx.ModelProto, tmp_path: Path) -> Path:
    """With external data, which the check would look for in the current folder."""
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return tmp_path / "net.onnx"


def break_a_pass(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(self: RemoveIdentities, model: object) -> None:
        raise error

    monkeypatch.setattr(RemoveIdentities, "call", fail)


def haste(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def test_a_defect_is_not_blamed_on_the_model(
    model: onnx.ModelProto, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    break_a_pass(monkeypatch, KeyError("sve"))
    sentence = r"the pass 'remove-identities' failed \(KeyError: 'sve'\)\. This is a defect of haste-export"
    with pytest.raises(DefectError, match=sentence):
        compress(model)
    with pytest.raises(DefectError, match=sentence):
        compress(path)
    with pytest.raises(DefectError, match=sentence):
        compressed_with(model, Options())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "weights.bin"]


def test_the_command_says_how_to_see_the_traceback(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_a_pass(monkeypatch, KeyError("sve"))
    for name in ("export", "inspect"):
        result = haste(name, path)
        assert result.exit_code == 2
        assert "This is a defect of haste-export" in result.output
        assert "`haste-export -vv`" in result.output
        assert "Traceback" not in result.output


def test_the_traceback(path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    break_a_pass(monkeypatch, KeyError("sve"))
    with caplog.at_level("INFO", "haste_export.defects"):
        haste("export", path)
    assert "Traceback" in caplog.text
    assert "in fail" in caplog.text


def test_what_a_pass_says_itself_stays(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = RuntimeError("a wrapper")
    wrapped.__cause__ = UnreadableModelError("its own sentence")
    for error in (wrapped, wrapped.__cause__):
        break_a_pass(monkeypatch, error)
        with pytest.raises(UnreadableModelError, match=r"^its own sentence$"):
            compress(model)


def test_too_little_memory_is_nobodys_fault(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    break_a_pass(monkeypatch, MemoryError("Unable to allocate 8 TiB"))
    with pytest.raises(MissingDependencyError, match=r"there is not enough memory .*Unable to allocate 8 TiB"):
        compress(model)


def conv_without_weights(model: onnx.ModelProto) -> None:
    del model.graph.node[2].input[1:]


def conv_without_output(model: onnx.ModelProto) -> None:
    del model.graph.node[0].output[:]


def pads_that_are_text(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute[0].CopyFrom(onnx.helper.make_attribute("pads", "same"))


def a_shape_for_more_data(model: onnx.ModelProto) -> None:
    (tensor,) = model.graph.initializer
    tensor.CopyFrom(onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], np.ones(2, np.float32)))
    tensor.dims[:] = [16, 16, 3, 3]


@pytest.mark.parametrize(
    "spoil", [conv_without_weights, conv_without_output, pads_that_are_text, a_shape_for_more_data]
)
def test_an_invalid_model_is_to_blame(model: onnx.ModelProto, tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    spoil(model)
    onnx.save(model, tmp_path / "net.onnx")
    for given in (model, tmp_path / "net.onnx"):
        with pytest.raises(UnreadableModelError, match=r"not (a )?valid ONNX") as raised:
            compress(given, skip_first=0, select="all")
        assert "\n" not in str(raised.value)
    result = haste("inspect", tmp_path / "net.onnx", "--skip-first", 0)
    assert result.exit_code == (0 if spoil is a_shape_for_more_data else 2)  # it reads no weights
    assert "defect" not in result.output
