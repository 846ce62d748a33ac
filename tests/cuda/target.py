"""The libraries that export haste_cuda.h, and where their memory lies: a GPU, or the host with the kernels as loops."""

from __future__ import annotations

import ctypes
import importlib
import os
import warnings
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.cuda.memory import Array, BareTorchBuffer, Buffer, CupyBuffer, HostBuffer, TorchBuffer
from tests.operator.c_api import OK, CommonRunArgs, ConvParams, NativeError, PoolParams

TYPE = {"float32": 0, "float16": 1}
LIMITS = (4, 99 << 10, 100 << 10, 4 << 20, 1 << 16, 0)
"""A small GPU for the host library to plan for: multiprocessors, shared memory per block and per multiprocessor, L2
(bytes), registers per block, and whether its tensor cores are worth using."""
MATRIX_LIMITS = (4, 163 << 10, 164 << 10, 4 << 20, 1 << 16, 1)
"""One that convolves on tensor cores."""


class RunArgs(CommonRunArgs):
    """haste_cuda_run_args."""

    _fields_ = (
        ("workspace", c_void_p),
        ("workspace_bytes", c_size_t),
        ("stream", c_void_p),
        ("correction", c_void_p),
    )


@dataclass
class Target:
    """A library and the memory it works on; `module` is torch, cupy, or None for the host.

    `limits` is the GPU that the host library plans for; a GPU has its own.
    """

    name: str
    lib: ctypes.CDLL
    module: Any = None
    limits: tuple[int, ...] = LIMITS

    @property
    def bare(self) -> bool:
        """Whether a tool watches memory (see tools/gpu/gpu_check.py)."""
        return "HASTE_TEST_BARE_BUFFERS" in os.environ and self.module is not None and self.module.__name__ == "torch"

    def plan_for_limits(self) -> None:
        """What is created next on the host is planned for `limits`."""
        if self.module is None:
            self.lib.haste_cuda_host_limits(*self.limits)

    def upload(self, contents: Array) -> Buffer:
        if self.module is None:
            return HostBuffer(contents)
        if self.bare:
            return BareTorchBuffer(self.module, contents.nbytes, contents)
        return (CupyBuffer if self.module.__name__ == "cupy" else TorchBuffer)(self.module, contents)

    def blank(self, nbytes: int) -> Buffer:
        """Memory that nothing has written: bytes of a NaN, so that an element left out shows."""
        if self.bare:
            return BareTorchBuffer(self.module, nbytes, None)
        return self.upload(np.full(nbytes, 0xFF, np.uint8))

    def stream(self) -> int:
        """cudaStream_t that the module works on."""
        if self.module is None:
            return 0
        if self.module.__name__ == "cupy":
            return int(self.module.cuda.get_current_stream().ptr)
        return int(self.module.cuda.current_stream().cuda_stream)

    def check(self, status: int) -> None:
        """Raise NativeError, with the library's sentence, for a status other than OK."""
        if status != OK:
            raise NativeError(status, self.error_message())

    def error_message(self) -> str:
        message: str = self.lib.haste_cuda_error_message().decode()
        return message


def host_library() -> Path | None:
    """The built library that runs the kernels on the CPU, or None."""
    return _find("libhaste_cuda_host.so", "HASTE_CUDA_HOST_LIBRARY")


def cuda_library() -> Path | None:
    """The built library for NVIDIA GPUs, or None."""
    return _find("libhaste_ops_cuda.so", "HASTE_OPS_CUDA_LIBRARY")


def _find(name: str, variable: str) -> Path | None:
    named = os.environ.get(variable)
    build = Path(__file__).resolve().parents[2] / "build"
    paths = [Path(named)] if named else [build / name, build / "gpu" / name]
    return next((path for path in paths if path.exists()), None)


def _load(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    p = c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "haste_cuda_conv_create": (c_int, [POINTER(ConvParams), c_int, p, p, p, POINTER(p)]),
        "haste_cuda_conv_destroy": (None, [p]),
        "haste_cuda_conv_output_size": (c_int, [p, c_int64, c_int64, POINTER(c_int64), POINTER(c_int64)]),
        "haste_cuda_conv_workspace": (c_int, [p, c_int64, c_int64, c_int64, POINTER(c_size_t)]),
        "haste_cuda_conv_run": (c_int, [p, POINTER(RunArgs)]),
        "haste_cuda_conv_codes": (c_int, [p, POINTER(RunArgs), p]),
        "haste_cuda_conv_run_grouped": (c_int, [p, POINTER(RunArgs), p]),
        "haste_cuda_pool_run": (c_int, [POINTER(PoolParams), c_int, p, c_int64, c_int64, c_int64, c_int64, p, p]),
        "haste_cuda_reorder": (c_int, [c_int, p, c_int, p, c_int, c_int64, c_int64, c_int64, c_int64, p]),
        "haste_cuda_device_count": (c_int, []),
        "haste_cuda_error_message": (c_char_p, []),
        "haste_pool_output_size": (c_int, [POINTER(PoolParams), c_int64, c_int64, POINTER(c_int64), POINTER(c_int64)]),
    }
    if hasattr(lib, "haste_cuda_host_thread_order"):
        signatures["haste_cuda_host_thread_order"] = (None, [c_uint32])
        signatures["haste_cuda_host_limits"] = (None, [c_int, c_size_t, c_size_t, c_size_t, c_int, c_int])
        signatures["haste_cuda_host_plan"] = (
            None,
            [POINTER(ConvParams), c_int, c_int64, c_int64, c_int64, POINTER(c_int64)],
        )
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def host_target() -> Target | str:
    """The host library, or a sentence that says why not."""
    path = host_library()
    return Target("host", _load(path)) if path else "libhaste_cuda_host.so is not built (make native)"


def gpu_target() -> Target | str:
    """The CUDA library on the GPU of this machine, or a sentence that says why not."""
    path = cuda_library()
    if not path:
        return "libhaste_ops_cuda.so is not built (it needs nvcc)"
    lib = _load(path)
    if lib.haste_cuda_device_count() == 0:
        return "this machine has no NVIDIA GPU, or no driver for it"
    for name in ("torch", "cupy"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the packages that these import
                module = importlib.import_module(name)
        except ImportError:
            continue
        if name == "cupy" or module.cuda.is_available():
            return Target("gpu", lib, module)
    return "neither PyTorch nor CuPy with CUDA is installed"
