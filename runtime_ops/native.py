"""The few functions of the C API that a running program asks, through ctypes."""

from __future__ import annotations

import ctypes
from functools import lru_cache

from runtime_ops.library import library_path


def run_count(path: str | None = None) -> int:
    """Native HasteConv runs in this process so far; unchanged by a run means that the fallback bodies ran.

    Args:
        path: the library to ask; by default the one that library_path() finds.

    Raises:
        LibraryNotFoundError: the library was not found.
        OSError: it does not load.
    """
    return int(_load(path or library_path()).haste_run_count())


def isa(path: str | None = None) -> str:
    """Instruction set whose kernels are in use: "avx512", "avx2", "neon" or "generic". Raises as run_count()."""
    return _text(_load(path or library_path()).haste_isa())


def available_isas(path: str | None = None) -> list[str]:
    """Instruction sets that the library was built for and this processor has, best first. Raises as run_count()."""
    names = _load(path or library_path()).haste_available_isas()
    available: list[str] = []
    while names[len(available)] is not None:
        available.append(_text(names[len(available)]))
    return available


def version(path: str | None = None) -> str:
    """Version of the library. Raises as run_count()."""
    return _text(_load(path or library_path()).haste_version())


def cuda_devices(path: str) -> tuple[int, str]:
    """How many GPUs the CUDA library at `path` can use, and if none, why: the driver's answer, or "".

    Raises:
        OSError: it does not load.
        AttributeError: it is no library with CUDA kernels.
    """
    library = ctypes.CDLL(path)
    library.haste_cuda_error_message.restype = ctypes.c_char_p
    count = int(library.haste_cuda_device_count())
    return count, "" if count else _text(library.haste_cuda_error_message())


@lru_cache
def _load(path: str) -> ctypes.CDLL:
    """Open the library and declare the functions above. ONNX Runtime opens the same file, so both see one counter."""
    library = ctypes.CDLL(path)
    library.haste_run_count.restype = ctypes.c_uint64
    library.haste_isa.restype = ctypes.c_char_p
    library.haste_version.restype = ctypes.c_char_p
    library.haste_available_isas.restype = ctypes.POINTER(ctypes.c_char_p)
    return library


def _text(value: bytes | None) -> str:
    return value.decode() if value is not None else ""
