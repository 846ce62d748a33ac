"""What is wrong when the op library does not work: a list of checks, each with its finding and a remedy."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import onnxruntime

from runtime_ops import native
from runtime_ops.binary import machine_of
from runtime_ops.library import CUDA_PROVIDER, LibraryNotFoundError, library_name, library_path
from runtime_ops.version import __version__

Status = Literal["ok", "note", "failed", "skipped"]

OLDEST_ONNXRUNTIME = (1, 17)
SYMBOLS = ("RegisterCustomOps", "haste_conv_create", "haste_isa", "haste_run_count", "haste_version")

# A part of the dynamic linker's message -> what to do about it.
_LOAD_REMEDIES = (
    ("GLIBC_", "the library was built on a newer system; build it on this one or on an older one"),
    ("GLIBCXX_", "the library was built without its own C++ runtime; build it with the project's CMakeLists.txt"),
    ("undefined symbol", "the library and its dependencies do not fit together; build it anew"),
    ("cannot open shared object file", "a library that it needs is missing; ldd lists which"),
    ("invalid ELF header", "the file is damaged or no library; copy it again"),
    ("file too short", "the file is damaged; copy it again"),
)


@dataclass(frozen=True)
class Check:
    """One finding of doctor(): a note needs no action, a failure does, and says which."""

    name: str
    status: Status
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """The check as JSON values."""
        return asdict(self)


def doctor() -> list[Check]:
    """Check the runtime, the library and a tiny model. Never raises; a failed check says what to do."""
    checks = [_onnxruntime_version()]
    found = _library_found()
    checks.append(found)
    if found.status == "failed":
        names = ("library loads", "symbols", "version", "instruction set", "native kernels")
        checks += [Check(name, "skipped", "no library") for name in names]
    else:
        checks += _library_checks(library_path())
    checks.append(_cuda_library())
    return checks


def _library_checks(path: str) -> Iterator[Check]:
    """The checks of a library that is there; those that build on a failed one are left out."""
    loads = _library_loads(path)
    yield loads
    if loads.status == "failed":
        return
    symbols = _symbols(path)
    yield symbols
    if symbols.status == "failed":
        return
    yield _library_version(path)
    yield _instruction_set(path)
    yield _probe_runs(path)


def _onnxruntime_version() -> Check:
    name = "onnxruntime"
    version = str(onnxruntime.__version__)
    if _release(version) < OLDEST_ONNXRUNTIME:
        oldest = ".".join(map(str, OLDEST_ONNXRUNTIME))
        return Check(name, "failed", f"{version} is older than {oldest}", f"install onnxruntime {oldest} or newer")
    return Check(name, "ok", f"{version}, {', '.join(onnxruntime.get_available_providers())}")


def _library_found() -> Check:
    try:
        return Check("library found", "ok", library_path())
    except LibraryNotFoundError as error:
        return Check("library found", "failed", str(error), "install the wheel, or name the file in HASTE_OPS_LIBRARY")


def _library_loads(path: str) -> Check:
    name = "library loads"
    try:
        ctypes.CDLL(path)
    except OSError as error:
        built_for, here = machine_of(path), platform.machine()
        if built_for not in ("", here):
            return Check(name, "failed", f"built for {built_for}, this is {here}", f"build or install it for {here}")
        remedies = [remedy for part, remedy in _LOAD_REMEDIES if part in str(error)]
        return Check(name, "failed", str(error), remedies[0] if remedies else "build it anew on this system")
    return Check(name, "ok", f"{Path(path).stat().st_size} bytes")


def _symbols(path: str) -> Check:
    library = ctypes.CDLL(path)
    missing = [symbol for symbol in SYMBOLS if not hasattr(library, symbol)]
    if missing:
        return Check(
            "symbols", "failed", f"not exported: {', '.join(missing)}", "this is another library, or a damaged build"
        )
    return Check("symbols", "ok", f"{len(SYMBOLS)} of {len(SYMBOLS)} entry points")


def _library_version(path: str) -> Check:
    version = native.version(path)
    if version != __version__:
        return Check(
            "version", "failed", f"library {version}, package {__version__}", "install both from the same release"
        )
    return Check("version", "ok", version)


def _instruction_set(path: str) -> Check:
    name = "instruction set"
    used, available = native.isa(path), native.available_isas(path)
    detail = f"{used} (available: {', '.join(available)})"
    wanted = os.environ.get("HASTE_ISA")
    if wanted and wanted != used:
        return Check(
            name, "failed", f"HASTE_ISA={wanted}, but {detail}", f"set HASTE_ISA to one of {', '.join(available)}"
        )
    if used != available[0]:
        return Check(name, "note", f"{detail}, as HASTE_ISA says")
    return Check(name, "ok", detail)


def _probe_runs(path: str) -> Check:
    """Run runtime_ops.selftest in a process of its own, so that a kernel that crashes is a finding."""
    name = "native kernels"
    places = os.pathsep.join([str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(  # noqa: S603 -- our own module
        [sys.executable, "-m", "runtime_ops.selftest", path],
        env={**os.environ, "PYTHONPATH": places.rstrip(os.pathsep)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return Check(name, "ok", done.stdout.strip())
    if done.returncode < 0:
        number = -done.returncode
        return Check(
            name, "failed", f"crashed with {signal.Signals(number).name}", "try HASTE_ISA=generic, and report this"
        )
    lines = (done.stderr or done.stdout).strip().splitlines()
    return Check(
        name, "failed", lines[-1] if lines else "ended without a word", "try HASTE_ISA=generic, and report this"
    )


def _cuda_library() -> Check:
    name = "CUDA library"
    try:
        path = library_path(cuda=True)
    except LibraryNotFoundError:
        return Check(name, "skipped", f"no {library_name(cuda=True)}: compressed models run on the CPU")
    try:
        count, reason = native.cuda_devices(path)
    except (OSError, AttributeError) as error:
        return Check(name, "failed", str(error), f"build {library_name(cuda=True)} on this system")
    if not count:
        detail = f"{path} is there, but it finds no GPU"
        return Check(name, "note", f"{detail}: {reason}" if reason else detail)
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return Check(name, "note", f"{path} is there, but this onnxruntime has no CUDA provider (onnxruntime-gpu has)")
    return Check(name, "ok", f"{path}, {count} GPU{'s' if count > 1 else ''}")


def _release(version: str) -> tuple[int, ...]:
    """Major and minor of a version like 1.17.3 or 1.25.0.dev2026."""
    return tuple(int(part) for part in version.split(".")[:2])
