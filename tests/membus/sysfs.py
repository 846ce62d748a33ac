"""Counting devices as the kernels of real boards list them in sysfs."""

from __future__ import annotations

from pathlib import Path

CORE_FORMAT = {"event": "config:0-15", "long": "config1:0"}


def write_device(
    sysfs: Path, name: str, kind: int, events: dict[str, str], formats: dict[str, str], **files: str
) -> None:
    folder = sysfs / "bus/event_source/devices" / name
    for sub, values in (("events", events), ("format", formats)):
        (folder / sub).mkdir(parents=True)
        for key, text in values.items():
            (folder / sub / key).write_text(text + "\n")
    for key, text in {"type": str(kind), **files}.items():
        (folder / key).write_text(text + "\n")


def raspberry_pi_4(sysfs: Path) -> None:
    write_device(sysfs, "armv8_cortex_a72", 8, {"l2d_cache_refill": "event=0x0017"}, CORE_FORMAT, cpus="0-3")
    write_device(sysfs, "software", 1, {}, {})


def raspberry_pi_5(sysfs: Path) -> None:
    write_device(sysfs, "armv8_cortex_a76", 8, {"l3d_cache_refill": "event=0x002a"}, CORE_FORMAT, cpus="0-3")


def imx8m_plus(sysfs: Path) -> None:
    write_device(sysfs, "armv8_cortex_a53", 7, {}, CORE_FORMAT, cpus="0-3")
    events = {
        "read-cycles": "event=0x2a",
        "write-cycles": "event=0x2b",
        "axid-read": "event=0x41",
        "axid-write": "event=0x42",
    }
    write_device(sysfs, "imx8_ddr0", 9, events, {"event": "config:0-7", "axi_id": "config1:0-15"}, cpumask="0")
    compatible = sysfs / "firmware/devicetree/base/compatible"
    compatible.parent.mkdir(parents=True)
    compatible.write_bytes(b"fsl,imx8mp-evk\0fsl,imx8mp\0")


def odroid_n2(sysfs: Path) -> None:
    write_device(sysfs, "armv8_cortex_a53", 8, {}, CORE_FORMAT, cpus="0-1")
    write_device(sysfs, "armv8_cortex_a73", 9, {}, CORE_FORMAT, cpus="2-5")
    write_device(sysfs, "meson_ddr_bw", 10, {"total_rw_bytes": "event=0x00"}, {"event": "config:0-7"}, cpumask="0")


def rk3588(sysfs: Path) -> None:
    """One device for two types of core: the part numbers must tell them apart."""
    write_device(sysfs, "armv8_pmuv3", 8, {}, CORE_FORMAT, cpus="0-7")


def rk3588_cpuinfo() -> str:
    parts = ["0xd05"] * 4 + ["0xd0b"] * 4
    return "\n".join(f"processor\t: {i}\nCPU part\t: {part}\n" for i, part in enumerate(parts))
