"""Where the CUDA kernels run in a test: as loops on the CPU everywhere, and on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.cuda.device import Target, gpu_target, host_target
from tests.operator.threads import THOROUGH

CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large)

settings.register_profile("cuda moderate", deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
settings.register_profile("cuda thorough", deadline=None, print_blob=True, suppress_health_check=CHECKS)
settings.load_profile("cuda thorough" if THOROUGH else "cuda moderate")


def _require(found: Target | str) -> Target:
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session", params=("host", "gpu"))
def target(request: pytest.FixtureRequest) -> Target:
    """The kernels on the CPU, then on a GPU."""
    return _require(host_target() if request.param == "host" else gpu_target())


@pytest.fixture(scope="session")
def host_library() -> Target:
    return _require(host_target())


@pytest.fixture
def host(host_library: Target) -> Iterator[Target]:
    """The host library alone, with its settings put back afterwards."""
    yield host_library
    host_library.lib.haste_cuda_host_thread_order(0)
    host_library.lib.haste_cuda_host_limits(*DEFAULT_LIMITS)


DEFAULT_LIMITS = (4, 99 << 10, 100 << 10, 4 << 20)
"""The small GPU that the host library plans for: multiprocessors, shared memory per block and multiprocessor, L2."""
