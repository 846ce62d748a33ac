"""Layers, pools and copies of haste_cuda.h through ctypes, on a GPU or on the host library.

Both libraries export the same functions; what differs is where memory lies (tests/cuda/target.py). Arrays are NumPy at
the interface and have their declared shape [N,C,H,W].
"""

from __future__ import annotations

from ctypes import byref, c_int64, c_size_t

import numpy as np
from numpy.typing import NDArray

from haste_export.reference import Float32, Labels
from tests.cuda.memory import Buffer
from tests.cuda.target import TYPE, RunArgs, Target
from tests.operator.c_api import LAYOUT, PLAIN, ConvOptions, Output, PoolParams, from_memory, to_memory
from tests.operator.layer import Layer


class Conv(Layer):
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
        super().__init__(target.lib, "haste_cuda_conv", target.check, len(weights), options)
        self.target, self.dtype = target, dtype
        self.params = options.params(weights, hyperplanes)
        # Where activations are float16, so are the weights.
        memory = options.stored(weights).astype("float16" if dtype == "float16" else options.w_type)
        constants = (memory, bias.astype(np.float32), hyperplanes.astype(np.int8))
        kept = [target.upload(constant) for constant in constants]
        target.plan_for_limits()
        target.check(
            target.lib.haste_cuda_conv_create(
                byref(self.params), TYPE[dtype], *(buffer.address for buffer in kept), byref(self.handle)
            )
        )

    def workspace(self, batch: int, height: int, width: int) -> int:
        """Bytes that a run on [batch, C, height, width] needs."""
        nbytes = c_size_t()
        self.call("workspace", batch, height, width, byref(nbytes))
        return nbytes.value

    def _args(self, x: Float32, count: int) -> tuple[RunArgs, list[Buffer]]:
        buffers = [self.target.upload(to_memory(x.astype(self.dtype), self.options.x_layout))]
        buffers.append(self.target.blank(self.workspace(x.shape[0], x.shape[2], x.shape[3])))
        args = RunArgs(x=buffers[0].address, batch=x.shape[0], height=x.shape[2], width=x.shape[3], hyperplanes=count)
        args.workspace, args.workspace_bytes = buffers[1].address, buffers[1].nbytes
        args.stream = self.target.stream()
        return args, buffers

    def codes(self, x: Float32, count: int, patches: int) -> Labels:
        shape = (x.shape[0], patches, x.shape[1])
        args, buffers = self._args(x, count)
        codes = self.target.blank(int(np.prod(shape)) * 4)
        self.call("codes", byref(args), codes.address)
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
        target, shape = self.target, self.output_shape(x)
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
            self.call("run", byref(args))
        else:
            given = target.upload(labels)
            self.call("run_grouped", byref(args), given.address)
        buffers[1].read("uint8")
        memory = y.read(self.dtype).astype(np.float32)
        return Output(from_memory(memory, shape, self.options.y_layout), stats.read("float32"))

    def try_run(self, x: Float32, count: int, /, **fields: int | None) -> int:
        args, buffers = self._args(x, count)
        y = self.target.blank(x.shape[0] * self.outputs * x.shape[2] * x.shape[3] * 4)
        args.y = y.address
        for name, value in fields.items():
            setattr(args, name, value)
        status = int(self.function("run")(self.handle, byref(args)))
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
