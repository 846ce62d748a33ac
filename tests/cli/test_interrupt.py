"""Ctrl-C: a command ends by the signal, in one line, and leaves no process and no half-written file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from haste_export.cli.interrupt import is_interrupt
from haste_export.replace import replacements

from .conftest import haste

_DATA = """
from pathlib import Path
import numpy as np

def endless():
    x = np.zeros((1, 3, 12, 12), np.float32)
    def batches():
        while True:
            Path("begun").touch()
            yield x, None
    return batches(), None
"""


def interrupted(folder: Path, program: list[object], begun: Callable[[int], bool], *, group: bool) -> str:
    """Send SIGINT once `begun` says of the process that it is at work; what it wrote on stderr."""
    (folder / "tmp").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", "from haste_export.cli.main import command\ncommand()", *map(str, program)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run as a background job, SIGINT is ignored, and so it would be here.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not begun(process.pid):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)  # a terminal sends it to all, `kill` to one
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    while running := processes_of(process.pid):
        assert time.monotonic() < deadline, running
        time.sleep(0.02)
    # ONNX Runtime has a file of its own there.
    assert not [path.name for path in (folder / "tmp").iterdir() if path.name != ".ses"]
    assert not [path.name for path in folder.iterdir() if path.suffix in (".part", ".old", ".lock")]
    return said


def processes_of(session: int) -> list[int]:
    """Processes of a session that have not ended; those that only nobody waited for have."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = place.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(own) == session and state != "Z":
            found.append(int(place.parent.name))
    return found


@pytest.mark.parametrize("group", [True, False])
def test_bench_ends_its_processes(stock: Path, tmp_path: Path, group: bool) -> None:
    program = ["bench", stock, "--runs", 10**8]
    assert interrupted(tmp_path, program, lambda pid: len(processes_of(pid)) > 2, group=group) == "Interrupted.\n"


def test_bench_while_a_model_loads(stock: Path, tmp_path: Path) -> None:
    program = ["bench", stock, stock]
    assert interrupted(tmp_path, program, lambda pid: len(processes_of(pid)) > 1, group=False) == "Interrupted.\n"


def test_export_keeps_what_was_complete(stock: Path, tmp_path: Path) -> None:
    written = tmp_path / "out.onnx"
    program = ["export", stock, written, "--select", "all", "--check", 10**8]
    assert interrupted(tmp_path, program, lambda _: written.exists(), group=True) == "Interrupted.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chain.onnx", "out.json", "out.onnx", "tmp"]


def test_eval_writes_nothing(stock: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(_DATA)
    program = ["eval", stock, "--data", "mine:endless", "--json", "out.json", "--csv", "out.csv"]
    assert interrupted(tmp_path, program, lambda _: (tmp_path / "begun").exists(), group=True) == "Interrupted.\n"
    assert not list(tmp_path.glob("out.*"))


def test_tune_can_go_on(stock: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    images = np.random.default_rng(0).standard_normal((4, 3, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "x.npz", images=images)
    program: list[object] = ["tune", stock, "--data", tmp_path / "x.npz", "--max-drop", 2, "--hyperplanes", "2,3"]
    journal = tmp_path / "chain.onnx.tune.journal"

    def some_trials(_: int) -> bool:
        return journal.exists() and journal.read_bytes().count(b"result") > 2

    assert interrupted(tmp_path, [*program, "--trials", 500], some_trials, group=True) == "Interrupted.\n"
    assert not (tmp_path / "chain.plan.toml").exists()
    before = journal.read_bytes()
    done = haste(*program, "--trials", 2)
    assert done.exit_code == 0, done.output
    assert journal.read_bytes().startswith(before)
    assert (tmp_path / "chain.plan.toml").exists()


def test_an_interrupt_that_became_another_error() -> None:
    error = ImportError("initialization failed")
    assert not is_interrupt(error)
    error.__cause__ = KeyboardInterrupt()
    assert is_interrupt(error)
    assert is_interrupt(error.__cause__)


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("number", [0, 1])
def test_an_interrupt_between_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    """All files are new, or none: also if the interrupt comes right after a rename, or right before."""
    targets = [tmp_path / "weights", tmp_path / "model"]
    for target in targets:
        target.write_text("old")
    rename, calls = Path.replace, iter(range(10))

    def interrupt(self: Path, place: Path) -> Path:
        here = next(calls) == number
        if here and not after:
            raise KeyboardInterrupt
        result = rename(self, place)
        if here:
            raise KeyboardInterrupt
        return result

    def write() -> None:
        with replacements(*targets) as files:
            for file in files:
                file.write(b"new")

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write()
    expected = "new" if after and number == 1 else "old"
    assert [target.read_text() for target in targets] == [expected, expected]
    assert sorted(tmp_path.iterdir()) == sorted(targets)
