"""The C API of haste_cuda.h through ctypes, on a GPU or on the host library that runs the same kernels as loops.

Both libraries export the same functions; what differs is where memory lies. Arrays are NumPy at the interface and
have their declared shape [N,C,H,W].
"""

from __future__ import annotations

import ctypes
import importlib
import os
import warnings
from abc import ABC, abstractmethod
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haste_export.reference import Float32, Labels
from tests.operator.c_api import (
    LAYOUT,
    PLAIN,
    CommonRunArgs,
    ConvOptions,
    ConvParams,
    NativeError,
    Output,
    PoolParams,
    from_memory,
    to_memory,
)

Array = NDArray[Any]
TYPE = {"float32": 0, "float16": 1}
GUARD_BYTES = 256
GUARD_VALUE = 0xA5
"""Bytes on both sides of every device buffer, and what they must still hold after a run."""
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


class Buffer(ABC):
    """Device memory between two guards."""

    nbytes: int

    @property
    @abstractmethod
    def address(self) -> int:
        """Of the first byte behind the guard: a multiple of 256."""

    @abstractmethod
    def read_all(self) -> NDArray[np.uint8]:
        """The memory with its guards, after all work in flight."""

    def read(self, dtype: str) -> Array:
        """The contents; fails when a guard was written to."""
        everything = self.read_all()
        guards = np.concatenate([everything[:GUARD_BYTES], everything[GUARD_BYTES + self.nbytes :]])
        assert (guards == GUARD_VALUE).all(), "written beside a buffer"
        return everything[GUARD_BYTES : GUARD_BYTES + self.nbytes].view(dtype)


def _guarded_bytes(contents: Array) -> NDArray[np.uint8]:
    guard = np.full(GUARD_BYTES, GUARD_VALUE, np.uint8)
    return np.concatenate([guard, np.ascontiguousarray(contents).reshape(-1).view(np.uint8), guard])


class HostBuffer(Buffer):
    def __init__(self, contents: Array) -> None:
        everything = _guarded_bytes(contents)
        self._store = np.zeros(everything.nbytes + 256, np.uint8)
        start = -self._store.ctypes.data % 256
        self._bytes = self._store[start : start + everything.nbytes]
        self._bytes[:] = everything
        self.nbytes = everything.nbytes - 2 * GUARD_BYTES

    @property
    def address(self) -> int:
        return int(self._bytes.ctypes.data) + GUARD_BYTES

    def read_all(self) -> NDArray[np.uint8]:
        copy: NDArray[np.uint8] = self._bytes.copy()
        return copy


class TorchBuffer(Buffer):
    def __init__(self, torch: Any, contents: Array) -> None:
        everything = _guarded_bytes(contents)
        self._tensor = torch.from_numpy(everything).cuda()  # PyTorch aligns allocations to 512 bytes
        self.nbytes = everything.nbytes - 2 * GUARD_BYTES

    @property
    def address(self) -> int:
        return int(self._tensor.data_ptr()) + GUARD_BYTES

    def read_all(self) -> NDArray[np.uint8]:
        result: NDArray[np.uint8] = self._tensor.cpu().numpy()
        return result


class BareTorchBuffer(Buffer):
    """Without guards, and with what the allocator leaves in it: for tools that watch memory themselves."""

    def __init__(self, torch: Any, nbytes: int, contents: Array | None) -> None:
        self._tensor = torch.empty(max(nbytes, 1), dtype=torch.uint8, device="cuda")
        if contents is not None and nbytes > 0:
            self._tensor.copy_(torch.from_numpy(np.ascontiguousarray(contents).reshape(-1).view(np.uint8)))
        self.nbytes = nbytes

    @property
    def address(self) -> int:
        return int(self._tensor.data_ptr())

    def read_all(self) -> NDArray[np.uint8]:
        guard = np.full(GUARD_BYTES, GUARD_VALUE, np.uint8)
        inside: NDArray[np.uint8] = self._tensor.cpu().numpy()[: self.nbytes]
        return np.concatenate([guard, inside, guard])


class CupyBuffer(Buffer):
    def __init__(self, cupy: Any, contents: Array) -> None:
        everything = _guarded_bytes(contents)
        self._cupy = cupy
        self._array = cupy.asarray(everything)  # CuPy aligns allocations to 512 bytes
        self.nbytes = everything.nbytes - 2 * GUARD_BYTES

    @property
    def address(self) -> int:
        return int(self._array.data.ptr) + GUARD_BYTES

    def read_all(self) -> NDArray[np.uint8]:
        result: NDArray[np.uint8] = self._cupy.asnumpy(self._array)
        return result


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
        if status != 0:
            raise NativeError(status, self.error_message())

    def error_message(self) -> str:
        message: str = self.lib.haste_cuda_error_message().decode()
        return message


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
    path = _find("libhaste_cuda_host.so", "HASTE_CUDA_HOST_LIBRARY")
    return Target("host", _load(path)) if path else "libhaste_cuda_host.so is not built (make native)"


def gpu_target() -> Target | str:
    """The CUDA library on the GPU of this machine, or a sentence that says why not."""
    path = _find("libhaste_ops_cuda.so", "HASTE_OPS_CUDA_LIBRARY")
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


class Conv:
    """A haste_cuda_conv of a target."""

    def __init__(
        self,
        target: Target,
        weights: Float32,
        bias: Float32,
        hyperplanes: NDArray[np.int8],
        options: ConvOptions = PLAIN,
        *,
        dtype: str = "float32",
    ) -> None:
        self.target, self.dtype, self.options, self.outputs = target, dtype, options, len(weights)
        self.params = options.params(weights, hyperplanes)
        # Where activations are float16, so are the weights.
        memory = options.stored(weights).astype("float16" if dtype == "float16" else options.w_type)
        constants = (memory, bias.astype(np.float32), hyperplanes.astype(np.int8))
        kept = [target.upload(constant) for constant in constants]
        self._handle = c_void_p()
        target.plan_for_limits()
        target.check(
            target.lib.haste_cuda_conv_create(
                byref(self.params), TYPE[dtype], *(buffer.address for buffer in kept), byref(self._handle)
            )
        )

    def __enter__(self) -> Conv:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.target.lib.haste_cuda_conv_destroy(self._handle)
        self._handle = c_void_p()

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        out_h, out_w = c_int64(), c_int64()
        self.target.check(
            self.target.lib.haste_cuda_conv_output_size(self._handle, height, width, byref(out_h), byref(out_w))
        )
        return out_h.value, out_w.value

    def workspace(self, batch: int, height: int, width: int) -> int:
        nbytes = c_size_t()
        self.target.check(self.target.lib.haste_cuda_conv_workspace(self._handle, batch, height, width, byref(nbytes)))
        return nbytes.value

    def _args(self, x: Float32, count: int) -> tuple[RunArgs, list[Buffer]]:
        buffers = [self.target.upload(to_memory(x.astype(self.dtype), self.options.x_layout))]
        buffers.append(self.target.blank(self.workspace(x.shape[0], x.shape[2], x.shape[3])))
        args = RunArgs(x=buffers[0].address, batch=x.shape[0], height=x.shape[2], width=x.shape[3], hyperplanes=count)
        args.workspace, args.workspace_bytes = buffers[1].address, buffers[1].nbytes
        args.stream = self.target.stream()
        return args, buffers

    def codes(self, x: Float32, count: int, patches: int) -> Labels:
        """Hash codes [N, P, C]."""
        shape = (x.shape[0], patches, x.shape[1])
        args, buffers = self._args(x, count)
        codes = self.target.blank(int(np.prod(shape)) * 4)
        self.target.check(self.target.lib.haste_cuda_conv_codes(self._handle, byref(args), codes.address))
        buffers[1].read("uint8")
        return codes.read("uint32").reshape(shape)

    def run(
        self,
        x: Float32,
        count: int = 0,
        *,
        tau: float = 0.0,
        residual: Float32 | None = None,
        correction: Float32 | None = None,
        labels: Labels | None = None,
        want_stats: bool = True,
    ) -> Output:
        """Run on x [N,C,H,W] as declared; with `labels` [N, P, C] the grouping is theirs."""
        lib, target = self.target.lib, self.target
        shape = (x.shape[0], self.outputs, *self.output_size(*x.shape[2:]))
        args, buffers = self._args(x, count)
        y, stats = target.blank(int(np.prod(shape)) * np.dtype(self.dtype).itemsize), target.blank(32)
        args.tau, args.y, args.stats = tau, y.address, stats.address if want_stats else None
        if residual is not None:
            buffers.append(target.upload(to_memory(residual.astype(self.dtype), self.options.z_layout)))
            args.z = buffers[-1].address
        if correction is not None:
            buffers.append(target.upload(correction))
            args.correction = buffers[-1].address
        if labels is None:
            target.check(lib.haste_cuda_conv_run(self._handle, byref(args)))
        else:
            given = target.upload(labels)
            target.check(lib.haste_cuda_conv_run_grouped(self._handle, byref(args), given.address))
        buffers[1].read("uint8")
        memory = y.read(self.dtype).astype(np.float32)
        return Output(from_memory(memory, shape, self.options.y_layout), stats.read("float32"))

    def try_run(self, x: Float32, count: int, /, **fields: int | None) -> int:
        """Status of a run with some of its arguments replaced."""
        args, buffers = self._args(x, count)
        y = self.target.blank(x.shape[0] * self.outputs * x.shape[2] * x.shape[3] * 4)
        args.y = y.address
        for name, value in fields.items():
            setattr(args, name, value)
        status = int(self.target.lib.haste_cuda_conv_run(self._handle, byref(args)))
        del buffers
        return status


def pool(target: Target, x: Float32, params: PoolParams, layouts: tuple[str, str], dtype: str = "float32") -> Float32:
    """HasteMaxPool or HasteAveragePool on x [N,C,H,W] as declared."""
    params.x_layout, params.y_layout = (LAYOUT[layout] for layout in layouts)
    out_h, out_w = c_int64(), c_int64()
    target.check(target.lib.haste_pool_output_size(byref(params), *x.shape[2:], byref(out_h), byref(out_w)))
    shape = (*x.shape[:2], out_h.value, out_w.value)
    given = target.upload(to_memory(x.astype(dtype), layouts[0]))
    y = target.blank(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    target.check(
        target.lib.haste_cuda_pool_run(byref(params), TYPE[dtype], given.address, *x.shape, y.address, target.stream())
    )
    return from_memory(y.read(dtype).astype(np.float32), shape, layouts[1])


def reorder(target: Target, x: Float32, layouts: tuple[str, str], dtype: str = "float32") -> Float32:
    """haste_cuda_reorder on x [N,C,H,W] as declared: the identity, if it is right."""
    given, y = target.upload(to_memory(x.astype(dtype), layouts[0])), target.blank(x.size * np.dtype(dtype).itemsize)
    target.check(
        target.lib.haste_cuda_reorder(
            *(TYPE[dtype], given.address, LAYOUT[layouts[0]], y.address, LAYOUT[layouts[1]]),
            *(*x.shape, target.stream()),
        )
    )
    return from_memory(y.read(dtype).astype(np.float32), x.shape, layouts[1])
