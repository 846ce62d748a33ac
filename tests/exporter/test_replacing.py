"""What is left of files when something goes wrong, and which are never replaced."""

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

import onnx
import pytest

from haste_export import compress
from haste_export.errors import OptionError, OutputError
from haste_export.io import write_json, write_text
from tests.exporter.models import haste_convs


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
