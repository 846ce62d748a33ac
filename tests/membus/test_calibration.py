"""Counters that track known streams are believed, others refused."""

from __future__ import annotations

import numpy as np
import pytest

from haste_export.errors import MissingDependencyError
from haste_export.membus.calibration import Meter, calibrate, fit
from haste_export.membus.pmu import Device
from haste_export.membus.sources import Event, Level, Source

LAST_LEVEL = 1 << 20
DEVICE = Device("armv8_cortex_a72", 8, {}, {}, (0,), system_wide=False)
READS, WRITES = Event("r17", DEVICE, 0x17, 64.0), Event("r18", DEVICE, 0x18, 64.0)
SOURCE = Source(Level.CORE_PMU, READS, WRITES, "lines")


def meter(
    read_unit: float = 64, write_unit: float = 64, noise: float = 0.0, allocate: bool = True, seed: int = 0
) -> Meter:
    """A machine whose counters count lines of these sizes."""
    rng = np.random.default_rng(seed)

    def measure(stream: str, size: int) -> list[int]:
        reads = size if stream in ("read", "copy") else 0
        writes = size if stream in ("write", "copy") else 0
        reads += writes if allocate else 0
        factor = 1 + noise * rng.standard_normal()
        return [int(reads / read_unit * factor), int(writes / write_unit * factor)]

    return measure


@pytest.mark.parametrize(("allocate", "copy"), [(True, 3.0), (False, 2.0)])
def test_true_counters_pass(allocate: bool, copy: float) -> None:
    calibration = calibrate(SOURCE, meter(noise=0.005, allocate=allocate), LAST_LEVEL)
    assert calibration.reads.bytes_per_count == pytest.approx(64, rel=0.01)
    assert calibration.copy_factor == pytest.approx(copy, rel=0.02)
    assert calibration.total([100, 50]) == pytest.approx(150 * 64, rel=0.01)


def test_a_bus_of_another_width_is_learnt() -> None:
    calibration = calibrate(SOURCE, meter(read_unit=128), LAST_LEVEL)
    assert calibration.reads.bytes_per_count == pytest.approx(128)


@pytest.mark.parametrize(
    ("machine", "complaint"),
    [
        (meter(noise=0.5), "r17 refused"),
        (meter(read_unit=1e9), "r17 refused"),
        (meter(read_unit=1024), "one count was 1024"),
        (meter(write_unit=4), "r18 refused"),
        (lambda stream, size: [0, 0], "r17 refused"),
        (lambda stream, size: [12345, 12345], "r17 refused"),
        (lambda stream, size: meter()(stream, size * 3 if stream == "copy" else size), "a copy of B bytes"),
    ],
)  # fmt: skip
def test_counters_that_do_not_track_are_refused(machine: Meter, complaint: str) -> None:
    with pytest.raises(MissingDependencyError, match=complaint):
        calibrate(SOURCE, machine, LAST_LEVEL)


def test_one_counter_for_both_directions() -> None:
    source = Source(Level.DDR_PMU, Event("total_rw_bytes", DEVICE, 0, 1.0), None, "bytes")
    calibration = calibrate(source, lambda stream, size: [2 * size if stream == "copy" else size], LAST_LEVEL)
    assert calibration.total([1000]) == pytest.approx(1000)
    assert calibration.copy_factor == pytest.approx(2)


def test_fit_reports_its_quality() -> None:
    good = fit([64, 128, 256], [1, 2, 4])
    assert (good.bytes_per_count, good.r_squared, good.spread) == pytest.approx((64, 1, 0))
    assert fit([64, 128], [0, 0]).r_squared == 0
