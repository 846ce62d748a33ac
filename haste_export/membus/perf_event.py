"""The kernel's perf_event_open, through ctypes: counters of one process and its threads, or of a whole machine."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
from collections.abc import Sequence
from types import TracebackType

from haste_export.errors import MissingDependencyError
from haste_export.membus.sources import Event, Source

# System call numbers of linux/unistd.h.
SYSCALL_NUMBERS = {"aarch64": 241, "x86_64": 298, "armv7l": 364, "armv8l": 364}

# ioctl requests of linux/perf_event.h: _IO('$', 0), _IO('$', 1), _IO('$', 3).
ENABLE, DISABLE, RESET = 0x2400, 0x2401, 0x2403

_ATTRIBUTE_BYTES = 112  # PERF_ATTR_SIZE_VER5, understood since Linux 4.1
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 0, 1 << 1, 1 << 5, 1 << 6
_TOTAL_TIMES = 1 | 2  # read_format: time enabled, time running
_CLOSE_ON_EXEC = 8


def attribute(event: Event, system_wide: bool) -> bytes:
    """A struct perf_event_attr for one counter, created disabled.

    A counter of a process is inherited by the threads that are created later and leaves the kernel out, as an
    unprivileged user must (perf_event_paranoid 2). A counter of the machine can do neither.
    """
    flags = _DISABLED if system_wide else _DISABLED | _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR
    head = struct.pack("=IIQQQQQ", event.device.type, _ATTRIBUTE_BYTES, event.config, 0, 0, _TOTAL_TIMES, flags)
    return head.ljust(_ATTRIBUTE_BYTES, b"\0")


def _open(attr: bytes, pid: int, cpu: int) -> int:
    number = SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        raise MissingDependencyError(f"performance counters are not supported on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attr, len(attr))
    result = libc.syscall(
        ctypes.c_long(number),
        buffer,
        ctypes.c_int(pid),
        ctypes.c_int(cpu),
        ctypes.c_int(-1),
        ctypes.c_ulong(_CLOSE_ON_EXEC),
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def explain(error: OSError, event: Event, system_wide: bool) -> str:
    """Why a counter could not be opened, and what to do about it."""
    name = f"{event.device.name}/{event.name}"
    if error.errno in (errno.EACCES, errno.EPERM):
        limit, why = ("0", "counts the whole machine") if system_wide else ("2", "counts a process")
        return (
            f"no permission to count {name}, which {why}: run as root, or "
            f"`sysctl kernel.perf_event_paranoid={limit}` (now {_paranoid()})"
        )
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL):
        return f"this kernel or processor has no counter {name}"
    if error.errno in (errno.ENOSYS,):
        return "this kernel has no performance counters"
    return f"{name} could not be counted: {error.strerror}"


def _paranoid() -> str:
    try:
        with open("/proc/sys/kernel/perf_event_paranoid", encoding="ascii") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return "unknown"


class Counters:
    """The open counters of a source. Counting happens inside `with counters.counting():` alone."""

    def __init__(self, source: Source, pid: int) -> None:
        """Open them.

        Args:
            source: what to count.
            pid: the process whose work counts; ignored by a source that counts the whole machine.

        Raises:
            MissingDependencyError: the kernel refuses one; says why.
        """
        self._descriptors: list[int] = []
        for event in source.events:
            wide = source.system_wide
            try:
                target = (-1, event.device.cpus[0] if event.device.cpus else 0) if wide else (pid, -1)
                self._descriptors.append(_open(attribute(event, wide), *target))
            except OSError as error:
                self.close()
                raise MissingDependencyError(explain(error, event, wide)) from error

    def __enter__(self) -> Counters:
        """Keep them open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        self.close()

    def close(self) -> None:
        """Close them."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def start(self) -> None:
        """Set to zero and begin counting."""
        for descriptor in self._descriptors:
            fcntl.ioctl(descriptor, RESET, 0)
            fcntl.ioctl(descriptor, ENABLE, 0)

    def stop(self) -> list[int]:
        """End counting; the counts in the order of the source's events.

        Raises:
            MissingDependencyError: the kernel shared a counter between several uses, so its count is a guess.
        """
        for descriptor in self._descriptors:
            fcntl.ioctl(descriptor, DISABLE, 0)
        return [_read(descriptor) for descriptor in self._descriptors]


def _read(descriptor: int) -> int:
    count, enabled, running = decode(os.read(descriptor, 24))
    if running < enabled:
        raise MissingDependencyError(
            "other programs use the performance counters too, so counts would be guesses; stop them"
        )
    return count


def decode(record: bytes) -> Sequence[int]:
    """Count, time enabled and time running of what the kernel hands out."""
    return struct.unpack("=QQQ", record)
