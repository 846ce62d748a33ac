"""Linker stubs of an older glibc, made from the installed one.

A program linked against today's glibc asks for today's versions of its functions (`pthread_create@GLIBC_2.34`) and does
not start on a board with an older one, although glibc still carries every older version too. These stubs define, for
every function, the newest version up to a limit and nothing newer, so the linker can pick no other. What an older glibc
lacks altogether and the C++ run-time library wants, `glibc_compat.c` supplies.

    python tools/bundle/glibc_stub.py --compiler aarch64-linux-gnu-gcc --limit 2.28 OUTPUT_FOLDER
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
COMPAT_SOURCE = HERE / "glibc_compat.c"

Version = tuple[int, ...]


class Symbol(NamedTuple):
    """A function or object of a shared library, in one of its versions."""

    name: str
    version: Version
    kind: str
    size: int


def parse_version(text: str) -> Version:
    """`2.28` as (2, 28)."""
    return tuple(int(part) for part in text.split("."))


def version_name(version: Version) -> str:
    """(2, 28) as `GLIBC_2.28`."""
    return "GLIBC_" + ".".join(str(part) for part in version)


# "   123: 0000000000081a40    40 FUNC    GLOBAL DEFAULT   12 dlopen@@GLIBC_2.34"
_SYMBOL = re.compile(
    r"^\s*\d+:\s+[0-9a-f]+\s+(?P<size>\d+|0x[0-9a-f]+)\s+(?P<kind>FUNC|IFUNC|OBJECT)\s+(?:GLOBAL|WEAK)\s+DEFAULT\s+(?:\d+|ABS)\s+"
    r"(?P<name>[^@\s]+)@@?GLIBC_(?P<version>[0-9.]+)\s*$"
)


def parse_symbols(readelf: str) -> list[Symbol]:
    """The versioned functions and objects in the output of `readelf --dyn-syms --wide`. GLIBC_PRIVATE is no version."""
    found = (_SYMBOL.match(line) for line in readelf.splitlines())
    return [
        Symbol(
            m["name"], parse_version(m["version"]), "object" if m["kind"] == "OBJECT" else "function", int(m["size"], 0)
        )
        for m in found
        if m
    ]


def newest_up_to(symbols: list[Symbol], limit: Version) -> list[Symbol]:
    """For every name the newest version that is not above the limit; names that are younger than the limit drop out."""
    newest: dict[str, Symbol] = {}
    for symbol in symbols:
        if symbol.version <= limit and (symbol.name not in newest or newest[symbol.name].version < symbol.version):
            newest[symbol.name] = symbol
    return sorted(newest.values())


def stub_assembly(symbols: list[Symbol]) -> str:
    """An assembly source that defines every symbol with its version and size (the linker copies objects by it)."""
    lines = []
    for number, symbol in enumerate(symbols):
        local = f"stub_{number}"
        lines += [
            ".data" if symbol.kind == "object" else ".text",
            f".globl {local}",
            f".type {local}, %{symbol.kind}",
            f"{local}:",
            f".zero {max(symbol.size, 1) if symbol.kind == 'object' else 4}",
            f".size {local}, {symbol.size if symbol.kind == 'object' else 4}",
            f".symver {local}, {symbol.name}@@{version_name(symbol.version)}",
        ]
    return "\n".join(lines) + '\n.section .note.GNU-stack,"",%progbits\n'


def version_script(symbols: list[Symbol]) -> str:
    """A linker version script with the versions in use."""
    versions = sorted({symbol.version for symbol in symbols})
    nodes = [f"{version_name(versions[0])} {{ local: stub_*; }};"] + [f"{version_name(v)} {{ }};" for v in versions[1:]]
    return "\n".join(nodes) + "\n"


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def library_path(compiler: str, name: str) -> Path:
    """Where the compiler's own linker finds a library."""
    path = Path(_run(compiler, f"-print-file-name={name}").strip())
    if not path.is_absolute():
        raise FileNotFoundError(f"{compiler} has no {name}: install its C library")
    return path.resolve()


def loader_name(compiler: str) -> str:
    """The dynamic loader's file name: the C library itself needs it."""
    needed = _run("readelf", "--dynamic", "--wide", str(library_path(compiler, "libc.so.6")))
    found = re.search(r"\(NEEDED\).*\[(ld-linux[^\]]*)\]", needed)
    if not found:
        raise FileNotFoundError(f"{compiler}: its libc.so.6 names no dynamic loader")
    return found[1]


def make_stub(compiler: str, soname: str, limit: Version, folder: Path) -> Path:
    """Writes the stub of one library and returns its path."""
    symbols = newest_up_to(
        parse_symbols(_run("readelf", "--dyn-syms", "--wide", str(library_path(compiler, soname)))), limit
    )
    assembly, script, stub = folder / f"{soname}.s", folder / f"{soname}.map", folder / soname
    assembly.write_text(stub_assembly(symbols))
    script.write_text(version_script(symbols))
    _run(
        compiler,
        "-shared",
        "-nostdlib",
        f"-Wl,-soname,{soname}",
        f"-Wl,--version-script={script}",
        str(assembly),
        "-o",
        str(stub),
    )
    assembly.unlink()
    script.unlink()
    return stub


def make_stubs(compiler: str, limit: Version, folder: Path) -> None:
    """Fills the folder so that `-L<folder>` before everything else links against glibc `limit`."""
    folder.mkdir(parents=True, exist_ok=True)
    libc = make_stub(compiler, "libc.so.6", limit, folder)
    libm = make_stub(compiler, "libm.so.6", limit, folder)
    loader = make_stub(compiler, loader_name(compiler), limit, folder)
    compat_object, compat = folder / "glibc_compat.o", folder / "libglibc_compat.a"
    _run(
        compiler,
        "-O2",
        "-fPIC",
        "-fvisibility=hidden",
        "-ffunction-sections",
        "-Wall",
        "-Wextra",
        "-c",
        str(COMPAT_SOURCE),
        "-o",
        str(compat_object),
    )
    compat.unlink(missing_ok=True)
    _run("ar", "rcsD", str(compat), str(compat_object))
    nonshared = library_path(compiler, "libc_nonshared.a")
    # The archive stands first: its __libc_start_main must win over the stub's.
    (folder / "libc.so").write_text(f"GROUP ( {compat} {libc} {nonshared} AS_NEEDED ( {loader} ) )\n")
    (folder / "libm.so").write_text(f"INPUT ( {libm} )\n")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Linker stubs of an older glibc")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--compiler", required=True, help="C compiler of the target")
    parser.add_argument("--limit", default="2.28", help="newest glibc version to ask for")
    arguments = parser.parse_args()
    try:
        make_stubs(arguments.compiler, parse_version(arguments.limit), arguments.folder.resolve())
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd)}\n{error.stderr}", file=sys.stderr)
        return 3
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
