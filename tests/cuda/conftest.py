"""Where the CUDA kernels run in a test: as loops on the CPU everywhere, and on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.cuda.compare import Cuda
from tests.cuda.target import Target
from tests.operator.backends import find_backend


def require(name: str) -> Cuda:
    """A backend of tests.operator.backends; skips the test, and says so, where it is not here."""
    found = find_backend(name)
    if isinstance(found, str):
        pytest.skip(found)
    assert isinstance(found, Cuda)
    return found


@pytest.fixture(scope="session", params=("host", "host-matrix", "gpu"))
def cuda(request: pytest.FixtureRequest) -> Cuda:
    """The kernels on the CPU, planned for lanes and for tensor cores, then on a GPU."""
    return require(request.param)


@pytest.fixture(scope="session")
def half(cuda: Cuda) -> Cuda:
    """The same with activations and weights stored as float16."""
    return Cuda(f"{cuda.name}-half", cuda.target, "float16")


@pytest.fixture(scope="session")
def host_library() -> Target:
    return require("host").target


@pytest.fixture
def host(host_library: Target) -> Iterator[Target]:
    """The host library alone, with its order of threads put back afterwards."""
    yield replace(host_library)
    host_library.lib.haste_cuda_host_thread_order(0)
