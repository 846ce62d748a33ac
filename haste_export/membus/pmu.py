"""Which performance counters this machine has, as the kernel lists them in sysfs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DEVICES = "bus/event_source/devices"


@dataclass(frozen=True)
class Device:
    """A counting device: its type number for perf_event_open, its events as the kernel spells them, its processors."""

    name: str
    type: int
    events: dict[str, str]
    formats: dict[str, str]
    cpus: tuple[int, ...]
    system_wide: bool

    def config(self, terms: str) -> int:
        """The `config` word of an event such as `event=0x17` or `eventid=0x41,foo=1`.

        Raises:
            ValueError: a term that the device does not describe.
        """
        word = 0
        for term in terms.split(","):
            name, _, text = term.strip().partition("=")
            value = int(text, 0) if text else 1
            word |= _place(value, self.formats.get(name), f"{self.name}: unknown event term {term!r}")
        return word


def discover(sysfs: Path) -> list[Device]:
    """Every counting device below a sysfs mount, by name; empty in a container or virtual machine without any."""
    folder = sysfs / DEVICES
    if not folder.is_dir():
        return []
    found = (_read_device(path) for path in sorted(folder.iterdir()))
    return [device for device in found if device is not None]


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """`0-3,6` as (0, 1, 2, 3, 6)."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def _read_device(folder: Path) -> Device | None:
    kind = _read(folder / "type")
    if kind is None:
        return None
    # A core's device lists its processors in `cpus`; a device beside the cores names one to read it from in `cpumask`.
    mask = _read(folder / "cpumask")
    return Device(
        folder.name,
        int(kind),
        _read_all(folder / "events"),
        _read_all(folder / "format"),
        parse_cpu_list(mask if mask is not None else _read(folder / "cpus") or ""),
        system_wide=mask is not None,
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _read_all(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    texts = {path.name: _read(path) for path in sorted(folder.iterdir())}
    # `x86_event.scale` and `.unit` describe an event and are none.
    return {name: text for name, text in texts.items() if text is not None and "." not in name}


_BITS = re.compile(r"config:(\d+)(?:-(\d+))?$")


def _place(value: int, layout: str | None, complaint: str) -> int:
    found = _BITS.match(layout or "")
    if not found:
        raise ValueError(complaint)
    low = int(found[1])
    width = int(found[2] or low) - low + 1
    if value >> width:
        raise ValueError(f"{complaint}: too large for {width} bits")
    return value << low
