"""Which counters stand for bytes on the memory bus, by core and by system-on-chip.

A core's own counters see what misses its last cache; a memory controller's see everything, other programs included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from haste_export.membus.geometry import LINE
from haste_export.membus.pmu import Device

MAX_EVENTS = 6  # programmable counters of an Arm core; more would be multiplexed, and the counts be guesses


class Level(Enum):
    """How far from the truth a number is. Numbers of two levels never share a column."""

    DDR_PMU = "ddr-pmu"
    CORE_PMU = "core-pmu"
    SIMULATED = "simulated"
    ANALYTIC = "analytic"


@dataclass(frozen=True)
class Event:
    """One counter: its device, the config word, and the bytes that one count stands for before calibration."""

    name: str
    device: Device
    config: int
    bytes_per_count: float


@dataclass(frozen=True)
class Source:
    """Counters that together tell the bytes of an inference. Without `writes`, `reads` counts both directions."""

    level: Level
    reads: Event
    writes: Event | None
    meaning: str

    @property
    def events(self) -> tuple[Event, ...]:
        """The counters to open, at most MAX_EVENTS."""
        return (self.reads, self.writes) if self.writes else (self.reads,)

    @property
    def system_wide(self) -> bool:
        """Whether it counts everything that the machine does, not one process."""
        return self.reads.device.system_wide


@dataclass(frozen=True)
class CoreEvents:
    """Event numbers of a core type: lines read into its last cache, lines written out of it, and what that means."""

    reads: int
    writes: int | None
    meaning: str


_L2_LAST = (
    "L2D_CACHE_REFILL + L2D_CACHE_WB, lines of 64 bytes: the L2 is the last cache, so these are the lines read from "
    "memory and written to it"
)
_L3_REFILL = (
    "L3D_CACHE_REFILL, lines of 64 bytes: lines read into the cluster's L3. Write-backs from L3 have no counter here, "
    "so this is the reading half only"
)
_LL_MISS = "LL_CACHE_MISS_RD, lines of 64 bytes: reads that missed the last cache. Written lines are not counted"

# Of the architecture's event numbers: 0x17 L2D_CACHE_REFILL, 0x18 L2D_CACHE_WB, 0x2a L3D_CACHE_REFILL, 0x37
# LL_CACHE_MISS_RD. Cores with a shared L3 cannot use the L2's events: those count traffic between L2 and L3.
CORE_EVENTS = {
    "cortex_a35": CoreEvents(0x17, 0x18, _L2_LAST),
    "cortex_a53": CoreEvents(0x17, 0x18, _L2_LAST),
    "cortex_a57": CoreEvents(0x17, 0x18, _L2_LAST),
    "cortex_a72": CoreEvents(0x17, 0x18, _L2_LAST),
    "cortex_a73": CoreEvents(0x17, 0x18, _L2_LAST),
    "cortex_a55": CoreEvents(0x2A, None, _L3_REFILL),
    "cortex_a75": CoreEvents(0x2A, None, _L3_REFILL),
    "cortex_a76": CoreEvents(0x2A, None, _L3_REFILL),
    "cortex_a78": CoreEvents(0x2A, None, _L3_REFILL),
    "neoverse_n1": CoreEvents(0x37, None, _LL_MISS),
}

# Part numbers of /proc/cpuinfo, for kernels whose device is just called armv8_pmuv3.
PARTS = {
    0xD03: "cortex_a53",
    0xD04: "cortex_a35",
    0xD05: "cortex_a55",
    0xD07: "cortex_a57",
    0xD08: "cortex_a72",
    0xD09: "cortex_a73",
    0xD0A: "cortex_a75",
    0xD0B: "cortex_a76",
    0xD0C: "neoverse_n1",
    0xD41: "cortex_a78",
}

PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES = 0, 3
X86_CORE = "cpu"


def choose(devices: Iterable[Device], parts: dict[int, int], cpu: int, soc: str = "") -> list[Source]:
    """The sources of this machine, best first: the memory controller's before the core's.

    Args:
        devices: what `discover` found.
        parts: part number of /proc/cpuinfo by processor.
        cpu: the processor that the measurement is pinned to; two types of core have different counters.
        soc: /sys/firmware/devicetree/base/compatible, for errata.
    """
    devices = list(devices)
    candidates = [_meson(devices), _imx8(devices, soc), _arm_core(devices, parts, cpu), _x86_core(devices)]
    return [source for source in candidates if source is not None]


def _meson(devices: list[Device]) -> Source | None:
    for device in devices:
        if device.name.startswith("meson_ddr_bw") and "total_rw_bytes" in device.events:
            event = Event("total_rw_bytes", device, device.config(device.events["total_rw_bytes"]), 1.0)
            meaning = "meson_ddr_bw/total_rw_bytes: bytes read and written at the memory controller, by all programs"
            return Source(Level.DDR_PMU, event, None, meaning)
    return None


def _imx8(devices: list[Device], soc: str) -> Source | None:
    for device in devices:
        if not device.name.startswith("imx8_ddr"):
            continue
        # Erratum of the 8M Plus: its read-cycles and write-cycles do not count; the AXI counters do, in bytes.
        plus = "imx8mp" in soc
        names = ("axid-read", "axid-write") if plus else ("read-cycles", "write-cycles")
        if not all(name in device.events for name in names):
            continue
        unit = 1.0 if plus else 16.0
        reads, writes = (Event(name, device, device.config(device.events[name]), unit) for name in names)
        meaning = f"{device.name}/{names[0]},{names[1]}: traffic at the memory controller, by all programs"
        return Source(Level.DDR_PMU, reads, writes, meaning)
    return None


def _arm_core(devices: list[Device], parts: dict[int, int], cpu: int) -> Source | None:
    for device in devices:
        if not device.name.startswith("armv8_") or (device.cpus and cpu not in device.cpus):
            continue
        kind = device.name.removeprefix("armv8_")
        if kind not in CORE_EVENTS:
            kind = PARTS.get(parts.get(cpu, 0), "")
        if kind not in CORE_EVENTS:
            continue
        events = CORE_EVENTS[kind]
        reads = Event(f"r{events.reads:02x}", device, events.reads, LINE)
        writes = Event(f"r{events.writes:02x}", device, events.writes, LINE) if events.writes is not None else None
        return Source(Level.CORE_PMU, reads, writes, f"{device.name}: {events.meaning}")
    return None


def _x86_core(devices: list[Device]) -> Source | None:
    for device in devices:
        if device.name == X86_CORE and device.events:
            generic = Device(device.name, PERF_TYPE_HARDWARE, {}, {}, device.cpus, system_wide=False)
            event = Event("cache-misses", generic, PERF_COUNT_HW_CACHE_MISSES, LINE)
            meaning = "cache-misses, lines of 64 bytes: reads that missed the last cache, without written lines"
            return Source(Level.CORE_PMU, event, None, meaning)
    return None


def cpu_parts(cpuinfo: str) -> dict[int, int]:
    """Part number by processor, from the text of /proc/cpuinfo; empty on other architectures."""
    parts: dict[int, int] = {}
    processor = 0
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "processor":
            processor = int(value)
        elif key == "CPU part":
            parts[processor] = int(value, 16)
    return parts
