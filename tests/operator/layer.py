"""What a layer is behind either C API, haste.h or haste_cuda.h."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from ctypes import CDLL, byref, c_int64, c_void_p
from typing import TYPE_CHECKING, Any

from haste_export.reference import Float32, Labels
from tests.operator.c_api import ConvOptions, Output

if TYPE_CHECKING:
    from typing_extensions import Self


class Layer(ABC):
    """A HasteConv of some backend, destroyed at the end of a `with`.

    Attributes:
        options: what it was created with.
        outputs: M.
        handle: what the C API's functions take; a subclass creates it.
    """

    def __init__(
        self, lib: CDLL, prefix: str, check: Callable[[int], None], outputs: int, options: ConvOptions
    ) -> None:
        """Use the functions of `lib` that begin with `prefix`; `check` raises NativeError for a status."""
        self.options, self.outputs, self.handle = options, outputs, c_void_p()
        self._lib, self._prefix, self._check = lib, prefix, check

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.function("destroy")(self.handle)
        self.handle = c_void_p()

    def function(self, name: str) -> Any:
        """A function of the C API by what follows the prefix."""
        return getattr(self._lib, f"{self._prefix}_{name}")

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function on this layer. Raises NativeError if it fails."""
        self._check(self.function(name)(self.handle, *arguments))

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """H' and W' for an input H x W."""
        out_h, out_w = c_int64(), c_int64()
        self.call("output_size", height, width, byref(out_h), byref(out_w))
        return out_h.value, out_w.value

    def output_shape(self, x: Float32) -> tuple[int, int, int, int]:
        """[N,M,H',W'] for x [N,C,H,W]."""
        return (x.shape[0], self.outputs, *self.output_size(x.shape[2], x.shape[3]))

    @abstractmethod
    def codes(self, x: Float32, count: int, patches: int) -> Labels:
        """Hash codes [N, P, C] of x [N,C,H,W], with L = `count` and P patches."""

    @abstractmethod
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

    @abstractmethod
    def try_run(self, x: Float32, count: int, /, **fields: int | None) -> int:
        """Status of a run with some of its arguments replaced."""
