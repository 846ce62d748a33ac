"""Where the CUDA kernels run in a test: as loops on the CPU everywhere, and on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings

from tests.cuda.device import LIMITS, MATRIX_LIMITS, Target, gpu_target, host_target
from tests.operator.threads import THOROUGH

CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large)

settings.register_profile("cuda moderate", deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
settings.register_profile("cuda thorough", deadline=None, print_blob=True, suppress_health_check=CHECKS)
settings.load_profile("cuda thorough" if THOROUGH else "cuda moderate")


def _require(found: Target | str) -> Target:
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session", params=("host", "host-matrix", "gpu"))
def target(request: pytest.FixtureRequest) -> Target:
    """The kernels on the CPU, planned for lanes and for tensor cores, then on a GPU."""
    if request.param == "gpu":
        return _require(gpu_target())
    return replace(_require(host_target()), limits=MATRIX_LIMITS if request.param == "host-matrix" else LIMITS)


@pytest.fixture(scope="session")
def host_library() -> Target:
    return _require(host_target())


@pytest.fixture
def host(host_library: Target) -> Iterator[Target]:
    """The host library alone, with its order of threads put back afterwards."""
    yield replace(host_library)
    host_library.lib.haste_cuda_host_thread_order(0)
