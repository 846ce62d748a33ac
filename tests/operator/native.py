"""The C API of libhaste_ops.so (cpp_ops/include/haste/haste.h) through ctypes, on NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haste_export.reference import Float32, Labels
from tests.operator.c_api import (
    LAYOUT,
    OK,
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
from tests.operator.layer import Layer

_Task = ctypes.CFUNCTYPE(None, c_void_p, c_size_t)
_ParallelFor = ctypes.CFUNCTYPE(None, c_void_p, _Task, c_size_t, c_void_p)

ParallelFor = Callable[[Callable[[int], None], int], None]
"""run(task, count): calls task(i) for every i < count on any threads and returns when all are done."""


class RunArgs(CommonRunArgs):
    """haste_conv_run_args."""

    _fields_ = (("parallel_for", c_void_p), ("pool", c_void_p), ("correction", c_void_p))


class Schedule(ctypes.Structure):
    """haste_schedule."""

    _fields_ = (
        ("weights_stay", c_int),
        *((name, c_int64) for name in ("chunk_patches", "chunk_floats", "slice_blocks", "slice_patches")),
    )


def find_library() -> Path | None:
    """The built library, or None."""
    import runtime_ops

    try:
        return Path(runtime_ops.library_path())
    except runtime_ops.LibraryNotFoundError:
        return None


@cache
def library() -> ctypes.CDLL:
    """The library with the signatures of haste.h set."""
    path = find_library()
    assert path is not None, "libhaste_ops.so is not built"
    lib = ctypes.CDLL(str(path))
    p = c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "haste_conv_create": (c_int, [POINTER(ConvParams), p, p, p, POINTER(p)]),
        "haste_conv_destroy": (None, [p]),
        "haste_conv_output_size": (c_int, [p, c_int64, c_int64, POINTER(c_int64), POINTER(c_int64)]),
        "haste_conv_run": (c_int, [p, POINTER(RunArgs)]),
        "haste_conv_codes": (c_int, [p, POINTER(RunArgs), p]),
        "haste_conv_run_grouped": (c_int, [p, POINTER(RunArgs), p]),
        "haste_conv_schedule": (c_int, [p, POINTER(RunArgs), POINTER(Schedule)]),
        "haste_pool_output_size": (c_int, [POINTER(PoolParams), c_int64, c_int64, POINTER(c_int64), POINTER(c_int64)]),
        "haste_pool_run": (c_int, [POINTER(PoolParams), p, c_int64, c_int64, c_int64, c_int64, p, p, p]),
        "haste_reorder": (c_int, [p, c_int, p, c_int, c_int64, c_int64, c_int64, c_int64, p, p]),
        "haste_isa": (c_char_p, []),
        "haste_available_isas": (POINTER(c_char_p), []),
        "haste_select_isa": (c_int, [c_char_p]),
        "haste_set_l2_cache": (c_int, [c_int64, c_int64]),
        "haste_version": (c_char_p, []),
        "haste_error_message": (c_char_p, []),
        "haste_run_count": (c_uint64, []),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def check(status: int) -> None:
    """Raise NativeError for a status other than OK."""
    if status != OK:
        raise NativeError(status, error_message())


def error_message() -> str:
    return _text(library().haste_error_message())


def isa() -> str:
    return _text(library().haste_isa())


def version() -> str:
    return _text(library().haste_version())


def run_count() -> int:
    return int(library().haste_run_count())


def available_isas() -> list[str]:
    names = library().haste_available_isas()
    found: list[str] = []
    while names[len(found)] is not None:
        found.append(names[len(found)].decode())
    return found


@contextmanager
def l2_cache(size: int, cores: int = 1) -> Iterator[None]:
    """Runs inside reckon with a second-level cache of so many bytes, shared by so many cores."""
    check(library().haste_set_l2_cache(size, cores))
    try:
        yield
    finally:
        check(library().haste_set_l2_cache(0, 0))


@contextmanager
def selected_isa(name: str) -> Iterator[None]:
    """Convs created inside run on this instruction set."""
    before = isa()
    check(library().haste_select_isa(name.encode()))
    try:
        yield
    finally:
        check(library().haste_select_isa(before.encode()))


def _text(value: bytes | None) -> str:
    assert value is not None
    return value.decode()


def _address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else int(array.ctypes.data)


def _callback(run: ParallelFor | None) -> tuple[Any, int | None]:
    """A haste_parallel_for that calls `run`: the ctypes object, which must stay alive, and its address."""
    if run is None:
        return None, None

    def parallel_for(_pool: int, task: Callable[[int, int], None], count: int, state: int) -> None:
        run(lambda index: task(state, index), count)

    function = _ParallelFor(parallel_for)
    return function, ctypes.cast(function, c_void_p).value


def aligned(array: NDArray[Any], boundary: int = 64, offset: int = 0) -> NDArray[Any]:
    """A flat copy whose memory starts `offset` bytes behind a multiple of `boundary`."""
    flat = np.ascontiguousarray(array).reshape(-1)
    store = np.zeros(flat.nbytes + boundary + offset, np.uint8)
    start = -store.ctypes.data % boundary + offset
    copy = store[start : start + flat.nbytes].view(flat.dtype)
    copy[:] = flat
    return copy


GUARD = 64
"""Floats around every output buffer that a run must not touch."""
_UNTOUCHED = np.float32(-1.2345e30)


def guarded(count: int) -> Float32:
    """A 64-byte-aligned buffer of `count` floats between two guards, all set to a value that no test computes."""
    return aligned(np.full(count + 2 * GUARD, _UNTOUCHED, np.float32))


def inside(buffer: Float32) -> Float32:
    """The part of a guarded buffer between its guards; fails when a guard was written to."""
    assert (buffer[:GUARD] == _UNTOUCHED).all(), "written in front of the output"
    assert (buffer[len(buffer) - GUARD :] == _UNTOUCHED).all(), "written behind the output"
    return buffer[GUARD : len(buffer) - GUARD]


class Conv(Layer):
    """A haste_conv. Keeps its weights alive, as the contract asks of the caller."""

    def __init__(
        self,
        weights: Float32,
        bias: Float32,
        hyperplanes: NDArray[np.int8],
        options: ConvOptions = PLAIN,
        *,
        weights_offset: int = 0,
    ) -> None:
        super().__init__(library(), "haste_conv", check, len(weights), options)
        self._weights = aligned(options.stored(weights), offset=weights_offset)
        self._bias = np.ascontiguousarray(bias, np.float32)
        planes = np.ascontiguousarray(hyperplanes, np.int8)
        params = options.params(weights, planes)
        constants = (_address(array) for array in (self._weights, self._bias, planes))
        check(library().haste_conv_create(byref(params), *constants, byref(self.handle)))

    def schedule(self, batch: int, height: int, width: int, count: int) -> Schedule:
        """How a run on such an input, by one thread, would use the second-level cache."""
        args, schedule = RunArgs(batch=batch, height=height, width=width, hyperplanes=count), Schedule()
        self.call("schedule", byref(args), byref(schedule))
        return schedule

    def codes(self, x: Float32, count: int, patches: int, parallel: ParallelFor | None = None) -> Labels:
        """Hash codes [N, P, C], by tasks that are run as `parallel` runs them."""
        codes = np.full((x.shape[0], patches, x.shape[1]), 0xDEADBEEF, np.uint32)
        memory = to_memory(x, self.options.x_layout)
        keep, address = _callback(parallel)
        args = self._args(x, memory, count)
        args.parallel_for = address
        self.call("codes", byref(args), _address(codes))
        del keep
        return codes

    def run(
        self,
        x: Float32,
        count: int = 0,
        *,
        tau: float = 0.0,
        residual: Float32 | None = None,
        correction: Float32 | None = None,
        labels: Labels | None = None,
        parallel: ParallelFor | None = None,
        want_stats: bool = True,
    ) -> Output:
        """Run on x [N,C,H,W] as declared. With `labels` [N, P, C] the grouping is theirs; then without statistics."""
        shape = self.output_shape(x)
        memory, z = to_memory(x, self.options.x_layout), None
        if residual is not None:
            z = to_memory(residual, self.options.z_layout)
        buffer, stats = guarded(int(np.prod(shape))), guarded(8)
        keep, address = _callback(parallel)
        args = self._args(x, memory, count)
        args.tau, args.z, args.parallel_for = tau, _address(z), address
        args.correction = _address(correction)
        args.y = _address(buffer[GUARD:])
        args.stats = _address(stats[GUARD:]) if want_stats and labels is None else None
        if labels is None:
            self.call("run", byref(args))
        else:
            given = np.ascontiguousarray(labels, np.uint32)
            self.call("run_grouped", byref(args), _address(given))
        del keep
        return Output(from_memory(inside(buffer), shape, self.options.y_layout), inside(stats).copy())

    def try_run(self, x: Float32, count: int, /, **fields: int | None) -> int:
        """Status of a run with some of its arguments replaced."""
        memory, y = to_memory(x, self.options.x_layout), np.zeros(x.shape[0] * self.outputs * x[0, 0].size, np.float32)
        args = self._args(x, memory, count)
        args.y = _address(y)
        for name, value in fields.items():
            setattr(args, name, value)
        return int(self.function("run")(self.handle, byref(args)))

    @staticmethod
    def _args(x: Float32, memory: Float32, count: int) -> RunArgs:
        args = RunArgs()
        args.x = _address(memory)
        args.batch, args.height, args.width = x.shape[0], x.shape[2], x.shape[3]
        args.hyperplanes = count
        return args


def pool(x: Float32, params: PoolParams, layouts: tuple[str, str], parallel: ParallelFor | None = None) -> Float32:
    """Run HasteMaxPool or HasteAveragePool on x [N,C,H,W] as declared."""
    params.x_layout, params.y_layout = (LAYOUT[layout] for layout in layouts)
    out_h, out_w = c_int64(), c_int64()
    check(library().haste_pool_output_size(byref(params), x.shape[2], x.shape[3], byref(out_h), byref(out_w)))
    shape = (*x.shape[:2], out_h.value, out_w.value)
    memory, buffer = to_memory(x, layouts[0]), guarded(int(np.prod(shape)))
    keep, address = _callback(parallel)
    check(library().haste_pool_run(byref(params), _address(memory), *x.shape, _address(buffer[GUARD:]), address, None))
    del keep
    return from_memory(inside(buffer), shape, layouts[1])


def reorder(x: Float32, layouts: tuple[str, str], parallel: ParallelFor | None = None) -> Float32:
    """Run haste_reorder on x [N,C,H,W] as declared: the identity, if it is right."""
    memory, buffer = to_memory(x, layouts[0]), guarded(x.size)
    keep, address = _callback(parallel)
    check(
        library().haste_reorder(
            _address(memory), LAYOUT[layouts[0]], _address(buffer[GUARD:]), LAYOUT[layouts[1]], *x.shape, address, None
        )
    )
    del keep
    return from_memory(inside(buffer), x.shape, layouts[1])
