"""What processor a shared library was built for, read from its ELF header."""

from __future__ import annotations

import os
import struct
from pathlib import Path

# e_machine (System V ABI, ELF header) -> the name that platform.machine() has for it.
_MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


def machine_of(path: str | os.PathLike[str]) -> str:
    """Name of the processor; an empty string when the file is no ELF file or the processor is not known here."""
    with Path(path).open("rb") as file:
        header = file.read(20)
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return ""
    byte_order = "<" if header[5] == 1 else ">"
    (machine,) = struct.unpack_from(byte_order + "H", header, 18)
    return _MACHINES.get(machine, "")
