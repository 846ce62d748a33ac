"""Bytes per inference by this machine's counters: calibrated, interleaved, warm and cold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from haste_export.errors import MissingDependencyError
from haste_export.membus.calibration import Calibration, calibrate
from haste_export.membus.geometry import last_level_bytes
from haste_export.membus.perf_event import Counters
from haste_export.membus.pmu import discover
from haste_export.membus.runner import Lockstep
from haste_export.membus.sources import Source, choose, cpu_parts

SYSFS = Path("/sys")
PROC = Path("/proc")
DEFAULT_LAST_LEVEL = 2 * 1024 * 1024  # where the device tree names no caches; boards have 0.5 to 4 MiB
SETTLE_RUNS = 3

NO_PMU = (
    "no performance counters here (a container, a virtual machine, or a kernel without the core's PMU): nothing on "
    "this machine can count memory traffic. --simulate cortex-a72 computes it from the real instructions instead"
)


@dataclass(frozen=True)
class Amount:
    """Bytes of one inference: median and interquartile range over the runs."""

    median: float
    spread: float

    @staticmethod
    def of(values: Sequence[float]) -> Amount:
        """Summarise one value per run."""
        low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), (0.25, 0.5, 0.75))
        return Amount(float(middle), float(high - low))


@dataclass(frozen=True)
class Measured:
    """One model: warm repeats an inference, cold empties the caches before it."""

    warm: Amount
    cold: Amount


@dataclass(frozen=True)
class HardwareResult:
    """What was counted, with what."""

    source: Source
    calibration: Calibration
    models: list[Measured]


def available_sources(cpu: int, sysfs: Path = SYSFS, proc: Path = PROC) -> list[Source]:
    """The counters of this machine that stand for bytes on the bus, best first.

    Raises:
        MissingDependencyError: there are none.
    """
    try:
        cpuinfo = (proc / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    compatible = sysfs / "firmware/devicetree/base/compatible"
    soc = compatible.read_bytes().decode("utf-8", "replace") if compatible.is_file() else ""
    sources = choose(discover(sysfs), cpu_parts(cpuinfo), cpu, soc)
    if not sources:
        raise MissingDependencyError(NO_PMU)
    return sources


def measure(commands: Sequence[Sequence[str]], runs: int, cpus: set[int] | None = None) -> HardwareResult:
    """Count the traffic of one or two models in turns.

    Args:
        commands: haste-run with model and options, one per model.
        runs: counted inferences per model, warm and cold each; turns are A B B A A B B A ...
        cpus: processors to pin to; default: the one this process runs on, so that all work is on one type of core.

    Raises:
        MissingDependencyError: no counter, no permission, or none that passes calibration.
    """
    pinned = cpus or {min(os.sched_getaffinity(0))}
    cpu = min(pinned)
    last_level = last_level_bytes(SYSFS, cpu) or DEFAULT_LAST_LEVEL
    reasons = []
    for source in available_sources(cpu):
        try:
            return _measure_with(source, commands, runs, pinned, last_level)
        except MissingDependencyError as error:  # noqa: PERF203  (a few iterations)
            reasons.append(str(error))
    raise MissingDependencyError("; ".join(reasons) + ". --simulate cortex-a72 needs no counters")


def _measure_with(
    source: Source, commands: Sequence[Sequence[str]], runs: int, cpus: set[int], last_level: int
) -> HardwareResult:
    with ExitStack() as stack:
        steps = [stack.enter_context(Lockstep(command, cpus)) for command in commands]
        counters = [stack.enter_context(Counters(source, step.pid)) for step in steps]
        for step in steps:
            step.wait_until_loaded()

        def stream(kind: str, size: int) -> list[int]:
            steps[0].prepare(kind, size)
            steps[0].evict(4 * last_level)
            counters[0].start()
            steps[0].stream(kind, size)
            return counters[0].stop()

        calibration = calibrate(source, stream, last_level)
        for step in steps:
            step.run(SETTLE_RUNS)
        warm: list[list[float]] = [[] for _ in steps]
        cold: list[list[float]] = [[] for _ in steps]
        for index in turns(len(steps), runs):
            steps[index].run()  # the turn before belonged to another model
            warm[index].append(_count(counters[index], steps[index], calibration))
            steps[index].evict(4 * last_level)
            cold[index].append(_count(counters[index], steps[index], calibration))
    models = [Measured(Amount.of(w), Amount.of(c)) for w, c in zip(warm, cold, strict=True)]
    return HardwareResult(source, calibration, models)


def _count(counters: Counters, step: Lockstep, calibration: Calibration) -> float:
    counters.start()
    step.run()
    return calibration.total(counters.stop())


def turns(models: int, runs: int) -> list[int]:
    """The order of the runs: A B B A A B B A, so that drift falls on both alike. One model: A A A."""
    order = list(range(models))
    return [index for turn in range(runs) for index in (order if turn % 2 == 0 else reversed(order))]
