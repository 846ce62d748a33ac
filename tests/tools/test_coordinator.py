from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tools.engines.adapters.base import Job
from tools.engines.coordinator import EngineError, Worker, start_all
from tools.engines.worker import Ask

ENGINE = "tests.tools.fake_engine:"
INPUTS = np.arange(6, dtype=np.float32).reshape(2, 1, 3)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    np.save(tmp_path / "inputs.npy", INPUTS)
    job = Job(tmp_path / "model.onnx", "x", (1, 3), ("y",), tmp_path / "calibration.npy", tmp_path, threads=2)
    workers: list[Worker] = []

    def begin(behaviour: str, timeout: float = 60) -> Worker:
        worker = Worker(ENGINE + behaviour, job, tmp_path / "inputs.npy", tmp_path / "log", timeout)
        workers.append(worker)
        return worker

    yield begin
    for worker in workers:
        worker.close()


def _state(worker: Worker) -> str:
    stat = Path(f"/proc/{worker.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


def test_worker_runs_the_input_asked_for_with_its_threads_set(start: Callable[..., Worker]) -> None:
    worker = start("works")
    assert (worker.labels, worker.version) == (("double",), "fake 1")
    sample = worker.ask(Ask("double", 1, warm_ups=1))
    np.testing.assert_array_equal(sample.outputs[0], INPUTS[1] * 2)
    np.testing.assert_array_equal(sample.outputs[1], INPUTS[1] + 2)
    assert sample.seconds > 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process state from /proc")
def test_idle_worker_is_stopped(start: Callable[..., Worker]) -> None:
    worker = start("works")
    assert _state(worker) == "T"
    worker.ask(Ask("double", 0, warm_ups=0))
    assert _state(worker) == "T"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("unavailable", r"^needs another processor$"),
        ("broken", r"^ValueError: cannot convert this$"),
        ("exits", r"ended with exit code 7"),
    ],
)
def test_failure_to_prepare_is_a_reason(start: Callable[..., Worker], behaviour: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        start(behaviour)


def test_hanging_conversion_ends_at_the_timeout(start: Callable[..., Worker]) -> None:
    with pytest.raises(EngineError, match="no answer within 3 s"):
        start("hangs", timeout=3)


def test_crash_is_contained_and_names_its_signal(start: Callable[..., Worker]) -> None:
    with pytest.raises(EngineError, match="killed by SIGABRT"):
        start("crashes").ask(Ask("double", 0, warm_ups=0))


def test_start_all_keeps_what_works_and_the_reasons_of_the_rest(tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", INPUTS)
    job = Job(tmp_path / "model.onnx", "x", (1, 3), ("y",), tmp_path / "calibration.npy", tmp_path, threads=1)
    names = [ENGINE + behaviour for behaviour in ("works", "unavailable")] + ["no.such.module:"]
    workers, failures = start_all(names, job, tmp_path / "inputs.npy", tmp_path, timeout=60)
    for worker in workers:
        worker.close()
    assert [worker.name for worker in workers] == names[:1]
    assert failures[names[1]] == "needs another processor"
    assert failures[names[2]].startswith("ModuleNotFoundError")
