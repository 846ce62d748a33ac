"""The perf_event_open records, and refusals in words."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from haste_export.errors import MissingDependencyError
from haste_export.membus.hardware import turns
from haste_export.membus.perf_event import Counters, attribute, decode, explain
from haste_export.membus.pmu import Device
from haste_export.membus.sources import Event, Level, Source

CORE = Event("r17", Device("armv8_cortex_a72", 8, {}, {}, (0,), system_wide=False), 0x17, 64.0)
DDR = Event("axid-read", Device("imx8_ddr0", 9, {}, {}, (0,), system_wide=True), 0x41, 1.0)


def test_attribute_of_a_process_counter() -> None:
    words = struct.unpack_from("=IIQQQQQ", attribute(CORE, system_wide=False))
    kind, size, config, period, sample, read_format, flags = words
    assert (kind, size, config, period, sample, read_format) == (8, 112, 0x17, 0, 0, 3)
    assert flags == 0b1100011  # disabled, inherited by threads, without kernel and hypervisor
    assert len(attribute(CORE, system_wide=False)) == 112


def test_attribute_of_a_machine_counter_excludes_nothing() -> None:
    assert struct.unpack_from("=IIQQQQQ", attribute(DDR, system_wide=True))[-1] == 1


def test_decode() -> None:
    assert tuple(decode(struct.pack("=QQQ", 7, 8, 9))) == (7, 8, 9)


@pytest.mark.parametrize(
    ("number", "event", "wide", "says"),
    [
        (errno.EACCES, CORE, False, "perf_event_paranoid=2"),
        (errno.EPERM, DDR, True, "perf_event_paranoid=0"),
        (errno.ENOENT, CORE, False, "no counter armv8_cortex_a72/r17"),
        (errno.ENOSYS, CORE, False, "no performance counters"),
    ],
)
def test_refusals_are_explained(number: int, event: Event, wide: bool, says: str) -> None:
    assert says in explain(OSError(number, os.strerror(number)), event, wide)


def test_a_counter_that_this_machine_lacks_is_refused_not_crashed_on() -> None:
    nowhere = Event("r17", Device("nowhere", 0x7FFFFFF0, {}, {}, (0,), system_wide=False), 0x17, 64.0)
    with pytest.raises(MissingDependencyError):
        Counters(Source(Level.CORE_PMU, nowhere, None, ""), os.getpid())


def test_turns_are_interleaved_both_ways() -> None:
    assert turns(2, 4) == [0, 1, 1, 0, 0, 1, 1, 0]
    assert turns(1, 3) == [0, 0, 0]
