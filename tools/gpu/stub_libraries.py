"""Stubs of the CUDA libraries that ONNX Runtime's CUDA provider is linked to, so that it loads without them.

    python tools/gpu/stub_libraries.py FOLDER     # of libcudart.so.13, the stand-in (cpp_ops/cuda/stand_in)

The provider loads only where every library that it names has every function that it names. Here all functions that the
stand-in lacks are in one library, and those that make or set something say that they did. All others print their name
and fail, so that a provider that needs them does not go on. Needs a C compiler and binutils.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

STAND_IN = "libcudart.so.13"
HOLDER = "libcuda.so.1"
"""The driver's library, whose symbols have no versions, so that it can hold the stubs of all."""
HARMLESS = re.compile("Create|Destroy|Set")


def _output_of(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _provider() -> Path:
    """libonnxruntime_providers_cuda.so of the installed onnxruntime-gpu; ends the program where there is none."""
    spec = importlib.util.find_spec("onnxruntime")
    folder = Path(spec.origin).parent / "capi" if spec and spec.origin else Path()
    library = folder / "libonnxruntime_providers_cuda.so"
    if not library.exists():
        sys.exit(f"{sys.executable} has no onnxruntime-gpu, or one without a CUDA provider")
    return library


def _undefined(library: Path) -> set[str]:
    """CUDA's functions that a library expects of others, without their versions."""
    listed = _output_of("nm", "-D", "--undefined-only", library)
    return set(re.findall(r" U (_*cu\w+)", listed))


def _defined(library: Path) -> set[str]:
    return set(re.findall(r" T (\w+)", _output_of("nm", "-D", "--defined-only", library)))


def _needed(library: Path) -> list[str]:
    """Names of the CUDA libraries that a library is linked to."""
    return re.findall(r"\[(lib(?:cu|nv)[\w.]+)\]", _output_of("readelf", "-d", library))


def _stub(name: str) -> str:
    if HARMLESS.search(name):
        return f"int {name}(void) {{ return 0; }}"
    return f'int {name}(void) {{ fprintf(stderr, "stub of a CUDA library: {name} is not there\\n"); return 1; }}'


def _build(library: Path, source: str) -> None:
    """A shared library; its own name is the version of its symbols, as the provider asks of those it is linked to."""
    options = ["-shared", "-fPIC", "-w", f"-Wl,-soname,{library.name}"]
    if library.name != HOLDER:
        versions = library.with_suffix(".map")
        versions.write_text(f"{library.name} {{ global: *; }};\n", encoding="ascii")
        options.append(f"-Wl,--version-script={versions}")
    subprocess.run(["cc", *options, "-x", "c", "-", "-o", library], input=source, text=True, check=True)


def main() -> None:
    """Build the libraries beside the stand-in."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    library = _provider()
    missing = sorted(_undefined(library) - _defined(folder / STAND_IN))
    for name in {HOLDER, *_needed(library)} - {STAND_IN}:
        stubs = "\n".join(map(_stub, missing)) if name == HOLDER else ""
        _build(folder / name, f"#include <stdio.h>\n{stubs}\n")
    print(f"{len(missing)} functions stubbed for {library.name}")


if __name__ == "__main__":
    main()
