"""Memory that the CUDA kernels work on, between guards: of the host, or of a GPU through PyTorch or CuPy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
GUARD_BYTES = 256
GUARD_VALUE = 0xA5
"""Bytes on both sides of every device buffer, and what they must still hold after a run."""


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
