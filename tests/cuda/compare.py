"""The CUDA kernels as a backend of the operator's tests, and what their arithmetic adds to the tolerances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haste_export.reference import Float32
from tests.cuda import device
from tests.cuda.target import LIMITS, MATRIX_LIMITS, TYPE, Target, gpu_target, host_target
from tests.operator.backends import Backend, Precision
from tests.operator.c_api import ConvOptions, ConvParams, PoolParams
from tests.operator.cases import Case

HALF_UNIT = 2.0**-11
"""Unit roundoff of float16."""
HALF_TINY = 2.0**-24
SPLIT_ERROR = 2.0**-21
"""Of a product of factors split into two TF32 numbers: 2^-23 for each factor, 2^-22 for the product left out."""
CUT_ERROR = 2.25 * 2.0**-23
"""Of four products and the sum before them on tensor cores: all five are cut to two bits more than a float32 has, and
the result to those (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores, 2021)."""


def product_error(target: Target, case: Case) -> float:
    """What a product of the convolution may be off by, of itself, because tensor cores may have taken it.

    Two blocks of four products are summed for every tap of three in a row, or of one. The sums of all others that go
    before, of low parts, are 2^-11 of those.
    """
    if target.module is None and not target.limits[-1]:
        return 0.0
    return SPLIT_ERROR + 2 * (3 if case.kernel[1] == 3 else 1) * CUT_ERROR


class Cuda(Backend):
    """The CUDA kernels on a target; activations and weights are stored as `dtype`."""

    counts_given_groups = True
    samples = 12

    def __init__(self, name: str, target: Target, dtype: str = "float32") -> None:
        self.name, self.target, self.dtype = name, target, dtype

    def precision(self, case: Case) -> Precision:
        product = product_error(self.target, case)
        if self.dtype == "float32":
            return Precision(product)
        return Precision(product, "float16", HALF_UNIT, HALF_TINY)

    def conv(
        self,
        weights: Float32,
        bias: Float32,
        hyperplanes: NDArray[np.int8],
        options: ConvOptions,
        variant: str = "",
    ) -> device.Conv:
        return device.Conv(self.target, weights, bias, hyperplanes, options, dtype=self.dtype)

    def together(self, patch: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        single = (1,) * patch
        return ((3,) if patch == 3 else single, single)

    def pool(self, x: Float32, params: PoolParams, layouts: tuple[str, str], variant: str = "") -> Float32:
        return device.pool(self.target, x, params, layouts, self.dtype)

    def reorder(self, x: Float32, layouts: tuple[str, str], variant: str = "") -> Float32:
        return device.reorder(self.target, x, layouts, self.dtype)

    def create_status(
        self, params: ConvParams | None, weights: int | None, bias: int | None, planes: int | None, handle: Any
    ) -> int:
        self.target.plan_for_limits()
        create = self.target.lib.haste_cuda_conv_create
        return int(create(params, TYPE[self.dtype], weights, bias, planes, handle))

    def destroy(self, handle: Any) -> None:
        self.target.lib.haste_cuda_conv_destroy(handle)

    def pool_status(
        self, params: PoolParams | None, x: int | None, sizes: tuple[int, int, int, int], y: int | None
    ) -> int:
        run = self.target.lib.haste_cuda_pool_run
        return int(run(params, TYPE[self.dtype], x, *sizes, y, self.target.stream()))

    def reorder_status(
        self, x: int | None, y: int | None, layouts: tuple[int, int], sizes: tuple[int, int, int, int]
    ) -> int:
        run = self.target.lib.haste_cuda_reorder
        return int(run(TYPE[self.dtype], x, layouts[0], y, layouts[1], *sizes, self.target.stream()))

    def error_message(self) -> str:
        return self.target.error_message()


def find_cuda(name: str) -> Cuda | str:
    """The CUDA backend of this name (tests.operator.backends), or a sentence that says why it is not here."""
    found = gpu_target() if name == "gpu" else host_target()
    if isinstance(found, str):
        return found
    limits = MATRIX_LIMITS if name == "host-matrix" else LIMITS
    return Cuda(name, replace(found, limits=limits))
