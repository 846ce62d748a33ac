"""Caches of the cores that a simulation can take the place of, and of the machine at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from haste_export.errors import OptionError

LINE = 64
SYSFS_CACHE = "devices/system/cpu/cpu{cpu}/cache"


@dataclass(frozen=True)
class Cache:
    """One cache: its size in bytes and its ways."""

    size: int
    ways: int


@dataclass(frozen=True)
class Core:
    """A core with its caches, all with lines of 64 bytes. `part` is the part number of /proc/cpuinfo."""

    name: str
    part: int
    l1i: Cache
    l1d: Cache
    l2: Cache
    l3: Cache | None
    board: str

    @property
    def last_level(self) -> Cache:
        """The cache whose misses go to memory."""
        return self.l3 or self.l2


def _kib(size: int, ways: int) -> Cache:
    return Cache(size * 1024, ways)


# Sizes as on the board named; the ways are those of Arm's technical reference manuals.
CORES = {
    core.name: core
    for core in (
        Core("cortex-a53", 0xD03, _kib(32, 2), _kib(32, 4), _kib(512, 16), None, "i.MX8M Plus"),
        Core(
            "cortex-a55",
            0xD05,
            _kib(32, 4),
            _kib(32, 4),
            _kib(128, 4),
            _kib(1024, 16),
            "an A55 cluster with 1 MiB of L3",
        ),
        Core("cortex-a72", 0xD08, _kib(48, 3), _kib(32, 2), _kib(1024, 16), None, "Raspberry Pi 4"),
        Core("cortex-a76", 0xD0B, _kib(64, 4), _kib(64, 4), _kib(512, 8), _kib(2048, 16), "Raspberry Pi 5"),
        Core(
            "neoverse-n1", 0xD0C, _kib(64, 4), _kib(64, 4), _kib(1024, 8), None, "one core, without the system's cache"
        ),
    )
}


def core(name: str) -> Core:
    """The core of that name.

    Raises:
        OptionError: there is no such core here.
    """
    if name not in CORES:
        raise OptionError(f"unknown core {name!r}; known: {', '.join(CORES)}")
    return CORES[name]


def last_level_bytes(sysfs: Path, cpu: int) -> int | None:
    """Size of the largest cache that sysfs reports; None on boards whose device tree has no cache nodes."""
    folder = sysfs / SYSFS_CACHE.format(cpu=cpu)
    sizes = [_size(path.read_text(encoding="ascii").strip()) for path in folder.glob("index*/size")]
    return max(sizes, default=None)


def _size(text: str) -> int:
    unit = {"K": 1024, "M": 1024 * 1024}.get(text[-1:], 1)
    return int(text.rstrip("KM")) * unit


def write_system_root(folder: Path, shown: Core, libraries: Path) -> None:
    """Lay out what an emulated program sees in place of this machine's /proc and /sys: one core of the kind simulated.

    ONNX Runtime reads the processor's name there, and both engines choose their tiles by the cache sizes.

    Args:
        folder: written into; given to QEMU as `-L`.
        shown: the core to show.
        libraries: the target's folder of C libraries.
    """
    cpus = folder / "sys/devices/system/cpu"
    caches = [("Data", 1, shown.l1d), ("Instruction", 1, shown.l1i), ("Unified", 2, shown.l2)]
    caches += [("Unified", 3, shown.l3)] if shown.l3 else []
    files = {folder / "proc/cpuinfo": _cpuinfo(shown)}
    files.update({cpus / name: "0\n" for name in ("kernel_max", "possible", "present", "online")})
    for index, (kind, level, cache) in enumerate(caches):
        values = {
            "level": level,
            "type": kind,
            "size": f"{cache.size // 1024}K",
            "ways_of_associativity": cache.ways,
            "number_of_sets": cache.size // LINE // cache.ways,
            "coherency_line_size": LINE,
            "shared_cpu_list": 0,
            "shared_cpu_map": 1,
        }
        files.update({cpus / f"cpu0/cache/index{index}" / name: f"{value}\n" for name, value in values.items()})
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    (folder / "lib").symlink_to(libraries)


def _cpuinfo(shown: Core) -> str:
    lines = {
        "processor": "0",
        "BogoMIPS": "100.00",
        "Features": "fp asimd crc32 cpuid",
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x0",
        "CPU part": f"{shown.part:#05x}",
        "CPU revision": "0",
    }
    return "".join(f"{key}\t: {value}\n" for key, value in lines.items()) + "\n"
