"""What a binary asks of the system it will run on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from glibc_stub import Version, parse_version

_NEEDED = re.compile(r"\(NEEDED\).*\[(.*)\]")
_VERSION = re.compile(r"\bGLIBC_([0-9][0-9.]*)")

# Part of every glibc system; nothing else may be needed.
GLIBC_LIBRARIES = re.compile(r"(libc|libm|libpthread|libdl)\.so\.\d+|ld-linux[-\w]*\.so\.\d+")


def _readelf(*arguments: str) -> str:
    return subprocess.run(["readelf", "--wide", *arguments], check=True, capture_output=True, text=True).stdout


def needed_libraries(binary: Path) -> list[str]:
    """The DT_NEEDED entries."""
    return _NEEDED.findall(_readelf("--dynamic", str(binary)))


def newest_glibc(binary: Path) -> Version:
    """The newest glibc version that a symbol is asked with; (0,) when there is none."""
    return max(
        (parse_version(version) for version in _VERSION.findall(_readelf("--version-info", str(binary)))), default=(0,)
    )


def complaints(binary: Path, limit: Version) -> list[str]:
    """What keeps the binary from running on a system with nothing but glibc `limit`, as sentences."""
    foreign = (library for library in needed_libraries(binary) if not GLIBC_LIBRARIES.fullmatch(library))
    found = [f"{binary.name} needs {library}" for library in foreign]
    newest = newest_glibc(binary)
    if newest > limit:
        text = ".".join(map(str, newest))
        found.append(f"{binary.name} needs glibc {text}, newer than {'.'.join(map(str, limit))}")
    return found
