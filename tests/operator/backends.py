"""Where the operator runs in a test: on the library's instruction sets, or through the kernels for CUDA."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from haste_export.reference import Float32, Labels
from tests.operator import native
from tests.operator.c_api import ConvOptions, ConvParams, PoolParams
from tests.operator.cases import Case, Problem
from tests.operator.layer import Layer
from tests.operator.threads import python_threads, serial_backwards
from tests.operator.winograd import TILINGS

NAMES = ("cpu", "host", "host-matrix", "gpu")
"""All backends: the CPU kernels; those for CUDA as loops on the CPU, planned for lanes and for tensor cores; a GPU."""


@dataclass(frozen=True)
class Precision:
    """What a backend's results may be off by, beside the rounding errors of float32.

    Each product of the convolution by `product`, of itself; and the result by one more rounding, to a `storage` type
    with this unit roundoff, or by `tiny` where that underflows.
    """

    product: float = 0.0
    storage: str = "float32"
    unit: float = 0.0
    tiny: float = 0.0


class Backend(ABC):
    """One implementation of the operator behind its C API."""

    name: str
    counts_given_groups: bool
    """Whether a run with a given grouping has statistics."""
    samples = 1
    """A test of very many runs makes one in so many of them."""

    @property
    def variants(self) -> tuple[str, ...]:
        """Implementations within the backend that a test goes through."""
        return ("",)

    def precision(self, case: Case) -> Precision:
        """Of a case's results."""
        return Precision()

    @abstractmethod
    def conv(
        self,
        weights: Float32,
        bias: Float32,
        hyperplanes: NDArray[np.int8],
        options: ConvOptions,
        variant: str = "",
    ) -> Layer:
        """Create a layer on a variant, or on the one that is chosen by default."""

    def conv_of(self, problem: Problem, variant: str = "") -> Layer:
        """The layer of a problem."""
        return self.conv(problem.weights, problem.bias, problem.hyperplanes, problem.case.options, variant)

    def codes(self, layer: Layer, problem: Problem) -> Iterator[tuple[str, Labels]]:
        """A problem's hash codes, computed in every way that there is."""
        yield "", layer.codes(problem.x, problem.case.count, problem.case.patches)

    @abstractmethod
    def together(self, patch: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Sizes of the tiles along y and x in which the outputs of a patch, 3x3, are computed from common terms."""

    @abstractmethod
    def pool(self, x: Float32, params: PoolParams, layouts: tuple[str, str], variant: str = "") -> Float32:
        """HasteMaxPool or HasteAveragePool on x [N,C,H,W] as declared."""

    @abstractmethod
    def reorder(self, x: Float32, layouts: tuple[str, str], variant: str = "") -> Float32:
        """HasteReorder: the identity, if it is right."""

    # What the C API itself says: statuses, for addresses that may be None.

    @abstractmethod
    def create_status(
        self, params: ConvParams | None, weights: int | None, bias: int | None, planes: int | None, handle: Any
    ) -> int: ...

    @abstractmethod
    def destroy(self, handle: Any) -> None: ...

    @abstractmethod
    def pool_status(
        self, params: PoolParams | None, x: int | None, sizes: tuple[int, int, int, int], y: int | None
    ) -> int: ...

    @abstractmethod
    def reorder_status(
        self, x: int | None, y: int | None, layouts: tuple[int, int], sizes: tuple[int, int, int, int]
    ) -> int: ...

    @abstractmethod
    def error_message(self) -> str: ...

    def __str__(self) -> str:
        return self.name


class Cpu(Backend):
    """libhaste_ops.so; its variants are the instruction sets of this processor."""

    name = "cpu"
    counts_given_groups = False

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(native.available_isas())

    def conv(
        self,
        weights: Float32,
        bias: Float32,
        hyperplanes: NDArray[np.int8],
        options: ConvOptions,
        variant: str = "",
    ) -> native.Conv:
        with native.selected_isa(variant or native.isa()):
            return native.Conv(weights, bias, hyperplanes, options)

    def codes(self, layer: Layer, problem: Problem) -> Iterator[tuple[str, Labels]]:
        assert isinstance(layer, native.Conv)
        for way, parallel in (("serial", None), ("backwards", serial_backwards), ("threads", python_threads(2))):
            yield way, layer.codes(problem.x, problem.case.count, problem.case.patches, parallel)

    def together(self, patch: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        single = (1,) * patch
        return ((3,), single) if patch == 3 else (TILINGS.get(patch, single),) * 2

    def pool(self, x: Float32, params: PoolParams, layouts: tuple[str, str], variant: str = "") -> Float32:
        with native.selected_isa(variant or native.isa()):
            return native.pool(x, params, layouts)

    def reorder(self, x: Float32, layouts: tuple[str, str], variant: str = "") -> Float32:
        with native.selected_isa(variant or native.isa()):
            return native.reorder(x, layouts)

    def create_status(
        self, params: ConvParams | None, weights: int | None, bias: int | None, planes: int | None, handle: Any
    ) -> int:
        return int(native.library().haste_conv_create(params, weights, bias, planes, handle))

    def destroy(self, handle: Any) -> None:
        native.library().haste_conv_destroy(handle)

    def pool_status(
        self, params: PoolParams | None, x: int | None, sizes: tuple[int, int, int, int], y: int | None
    ) -> int:
        return int(native.library().haste_pool_run(params, x, *sizes, y, None, None))

    def reorder_status(
        self, x: int | None, y: int | None, layouts: tuple[int, int], sizes: tuple[int, int, int, int]
    ) -> int:
        return int(native.library().haste_reorder(x, layouts[0], y, layouts[1], *sizes, None, None))

    def error_message(self) -> str:
        return native.error_message()


@cache
def find_backend(name: str) -> Backend | str:
    """A backend of NAMES, or a sentence that says why it is not here."""
    if name == "cpu":
        return Cpu() if native.find_library() else "libhaste_ops.so is not built (make native)"
    from tests.cuda.compare import find_cuda

    return find_cuda(name)


def backend(name: str) -> Backend:
    """For the line that reproduces a failure."""
    found = find_backend(name)
    assert isinstance(found, Backend), found
    return found
