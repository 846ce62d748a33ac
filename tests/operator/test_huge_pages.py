"""Weights lie on huge pages where Linux can put them there; what is computed is the subject of the other tests."""

from __future__ import annotations

import ctypes
import mmap
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.operator import native
from tests.operator.c_api import ConvOptions

MADV_COLLAPSE = 25
HUGE = 2 << 20
pytestmark = pytest.mark.usefixtures("library")


def huge_kilobytes() -> int:
    """Of this process's own memory."""
    found = re.search(r"^AnonHugePages:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def private_memory(nbytes: int) -> NDArray[np.uint8]:
    """Memory on small pages: NumPy asks for huge ones for arrays of its own."""
    return np.frombuffer(mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)


def can_collapse() -> bool:
    """Whether the system does now what the library asks for."""
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if mmap.PAGESIZE != 4096 or not enabled.exists() or "[never]" in enabled.read_text():
        return False
    memory = private_memory(2 * HUGE)
    memory[:] = 1
    inside = (memory.ctypes.data + HUGE - 1) // HUGE * HUGE
    status: int = ctypes.CDLL(None).madvise(ctypes.c_void_p(inside), ctypes.c_size_t(HUGE), MADV_COLLAPSE)
    return status == 0


def test_weights_of_megabytes_lie_on_huge_pages() -> None:
    if not can_collapse():
        pytest.skip("this system puts no memory on huge pages when it is asked to (Linux 6.1)")
    shape = (512, 256, 3, 3)  # 4.5 MB: one whole huge page at least
    options = ConvOptions(w_layout="packed")
    weights = private_memory(4 * int(np.prod(shape))).view(np.float32)
    weights[:] = 1
    hyperplanes = np.ones((4, (options.patch + 2) ** 2), np.int8)
    params = options.params(np.empty(shape, np.float32), hyperplanes)
    bias, conv = np.zeros(shape[0], np.float32), ctypes.c_void_p()
    before = huge_kilobytes()
    native.check(
        native.library().haste_conv_create(
            *(ctypes.byref(params), weights.ctypes.data, bias.ctypes.data, hyperplanes.ctypes.data, ctypes.byref(conv))
        )
    )
    gained = huge_kilobytes() - before
    native.library().haste_conv_destroy(conv)
    if not can_collapse():
        pytest.skip("this system has run out of huge pages")
    assert gained >= HUGE >> 10
