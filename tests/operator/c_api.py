"""What haste.h and haste_cuda.h share, for ctypes: structs, enumerations and layouts, and a convolution's parameters.

Arrays have their *declared* shape [N,C,H,W]; `to_memory` and `from_memory` turn them into the blocked layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, c_float, c_int, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from haste_export.contract import BLOCK
from haste_export.reference import Float32, Pads, pack

OK, INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY, NOT_RUN = range(5)
MERGE = {"scaled": 0, "mean": 1, "norm": 2}
ACTIVATION = {"": 0, "Relu": 1, "LeakyRelu": 2, "Clip": 3, "HardSwish": 4, "Silu": 5, "Sigmoid": 6}
LAYOUT = {"NCHW": 0, "blocked": 1}
WEIGHT_LAYOUT = {"OIHW": 0, "packed": 1}
WEIGHT_TYPE = {"float32": 0, "float16": 1}


class ConvParams(Structure):
    """haste_conv_params."""

    _fields_ = (
        *((name, c_int64) for name in ("in_channels", "out_channels", "kernel_h", "kernel_w")),
        *((name, c_int64) for name in ("pad_top", "pad_left", "pad_bottom", "pad_right", "patch", "max_hyperplanes")),
        ("merge", c_int),
        ("activation", c_int),
        ("activation_params", c_float * 2),
        *((name, c_int) for name in ("weight_layout", "weight_type", "x_layout", "z_layout", "y_layout")),
    )


class CommonRunArgs(Structure):
    """What the run arguments of the CPU's and of the CUDA kernels begin with."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (
        ("x", c_void_p),
        ("batch", c_int64),
        ("height", c_int64),
        ("width", c_int64),
        ("hyperplanes", c_int64),
        ("tau", c_float),
        ("z", c_void_p),
        ("y", c_void_p),
        ("stats", c_void_p),
    )


class PoolParams(Structure):
    """haste_pool_params."""

    _fields_ = (
        ("is_max", c_int),
        ("count_include_pad", c_int),
        *((name, c_int64) for name in ("kernel_h", "kernel_w", "stride_h", "stride_w")),
        *((name, c_int64) for name in ("pad_top", "pad_left", "pad_bottom", "pad_right")),
        ("ceil_mode", c_int),
        ("x_layout", c_int),
        ("y_layout", c_int),
    )


class NativeError(Exception):
    """A status other than HASTE_OK, with the library's sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"status {status}: {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True)
class ConvOptions:
    """What a HasteConv does beside its constants, in the names of the operator's attributes."""

    pads: Pads = (0, 0, 0, 0)
    patch: int = 3
    merge_how: str = "scaled"
    activation: str = ""
    activation_params: tuple[float, ...] = ()
    w_layout: str = "OIHW"
    w_type: str = "float32"
    x_layout: str = "NCHW"
    z_layout: str = "NCHW"
    y_layout: str = "NCHW"

    def params(self, weights: Float32, hyperplanes: NDArray[np.int8]) -> ConvParams:
        """haste_conv_params of a conv with these constants; weights are OIHW."""
        outputs, channels, *kernel = weights.shape
        return ConvParams(
            *(channels, outputs, *kernel, *self.pads, self.patch, len(hyperplanes)),
            *(MERGE[self.merge_how], ACTIVATION[self.activation], (c_float * 2)(*self.activation_params)),
            *(WEIGHT_LAYOUT[self.w_layout], WEIGHT_TYPE[self.w_type]),
            *(LAYOUT[self.x_layout], LAYOUT[self.z_layout], LAYOUT[self.y_layout]),
        )

    def stored(self, weights: Float32) -> NDArray[Any]:
        """OIHW weights as the conv takes them."""
        return (pack(weights) if self.w_layout == "packed" else weights).astype(self.w_type)


PLAIN = ConvOptions()


def to_memory(x: Float32, layout: str) -> Float32:
    """A [N,C,H,W] array as the flat memory of its layout."""
    if layout == "NCHW":
        return np.ascontiguousarray(x).reshape(-1)
    batch, channels, height, width = x.shape
    blocked = x.reshape(batch, channels // BLOCK, BLOCK, height, width).transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(blocked).reshape(-1)


def from_memory(memory: Float32, shape: Sequence[int], layout: str) -> Float32:
    """Inverse of `to_memory`."""
    if layout == "NCHW":
        return memory.reshape(tuple(shape))
    batch, channels, height, width = shape
    blocked = memory.reshape(batch, channels // BLOCK, height, width, BLOCK).transpose(0, 1, 4, 2, 3)
    return np.ascontiguousarray(blocked).reshape(tuple(shape))


@dataclass
class Output:
    """What one native run gives: y [N,M,H',W'] as declared, stats [8]."""

    y: Float32
    stats: Float32
