"""Finding and registering the library."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

import runtime_ops
from runtime_ops.library import CUDA_LIBRARY_VARIABLE, LIBRARY_VARIABLE, library_candidates
from runtime_ops.probe import PROBE_MODEL

PACKAGE = Path(runtime_ops.__file__).parent

# The finder of an editable install, an object among the interpreter's own classes, would find the checkout first.
RUN_COPY = (
    "import runpy, sys; sys.meta_path = [finder for finder in sys.meta_path if isinstance(finder, type)]; "
    "runpy.run_module('runtime_ops', run_name='__main__')"
)


def loads(options: onnxruntime.SessionOptions) -> bool:
    """Whether a session with these options takes the probe model."""
    session = onnxruntime.InferenceSession(PROBE_MODEL, options, providers=["CPUExecutionProvider"])
    return len(session.get_outputs()) == 2


def quiet_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options


def test_path_is_absolute_and_there(library: str) -> None:
    assert Path(library).is_absolute()
    assert Path(library).is_file()


def test_variable_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str) -> None:
    copy = tmp_path / "libhaste_ops.so"
    shutil.copy(library, copy)
    monkeypatch.setenv(LIBRARY_VARIABLE, str(copy))
    assert runtime_ops.library_path() == str(copy)


def test_relative_variable_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str) -> None:
    shutil.copy(library, tmp_path / "mine.so")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(LIBRARY_VARIABLE, "mine.so")
    assert runtime_ops.library_path() == str(tmp_path / "mine.so")


def test_wrong_variable_is_an_error_and_no_fallback(no_library: Path) -> None:
    with pytest.raises(
        runtime_ops.LibraryNotFoundError, match="HASTE_OPS_LIBRARY names a file that does not exist"
    ) as raised:
        runtime_ops.library_path()
    assert str(no_library) in str(raised.value)


def test_error_lists_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    with pytest.raises(runtime_ops.LibraryNotFoundError) as raised:
        runtime_ops.library_path()
    for place in library_candidates():
        assert str(place) in str(raised.value)


def test_found_beside_a_copied_package(tmp_path: Path, library: str) -> None:
    """A device has the package and the library in one folder, and nothing else of ours."""
    shutil.copytree(PACKAGE, tmp_path / "runtime_ops", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(library, tmp_path / "runtime_ops")
    environment = {key: value for key, value in os.environ.items() if key != LIBRARY_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", RUN_COPY], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path / "runtime_ops" / Path(library).name) in done.stdout


def test_registering_twice_is_harmless(library: str) -> None:
    options = quiet_options()
    assert runtime_ops.register(options) == library
    assert runtime_ops.register(options) == library
    assert loads(options)


def test_another_library_than_the_registered_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, library: str
) -> None:
    other = str(shutil.copy(library, tmp_path / "libhaste_ops_cuda.so"))
    monkeypatch.setenv(CUDA_LIBRARY_VARIABLE, other)
    options = quiet_options()
    runtime_ops.register(options)
    with pytest.raises(ValueError, match="registered already") as raised:
        runtime_ops.register(options, cuda=True)
    assert library in str(raised.value)
    assert other in str(raised.value)
    with pytest.raises(ValueError, match="registered already"):
        runtime_ops.Session(PROBE_MODEL, options=options, cuda=True)
    with pytest.raises(ValueError, match="registered already"):
        runtime_ops.register(options, path=other)
    assert runtime_ops.register(options, path=library) == library


def test_the_registered_library_does_where_none_is_named(tmp_path: Path, library: str) -> None:
    other = str(shutil.copy(library, tmp_path / "mine.so"))
    options = quiet_options()
    runtime_ops.register(options, path=other)
    assert runtime_ops.register(options) == other
    assert runtime_ops.Session(PROBE_MODEL, options=options).library == other


def test_each_options_object_is_registered(library: str) -> None:
    for _ in range(3):
        options = quiet_options()
        runtime_ops.register(options)
        assert loads(options)


def test_path_with_spaces_and_umlauts(tmp_path: Path, library: str) -> None:
    folder = tmp_path / "ein Gerät"
    folder.mkdir()
    copy = Path(shutil.copy(library, folder))
    options = quiet_options()
    assert runtime_ops.register(options, path=copy) == str(copy)
    assert loads(options)


def test_registering_something_else_fails_and_leaves_no_mark(tmp_path: Path, library: str) -> None:
    wrong = tmp_path / "libhaste_ops.so"
    wrong.write_text("not a library")
    options = quiet_options()
    with pytest.raises(Exception, match="Failed to load library"):
        runtime_ops.register(options, path=wrong)
    assert runtime_ops.register(options) == library
