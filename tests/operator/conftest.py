"""What a test needs from the libraries. Without the library, tests that need it are skipped, except under CI=true."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.operator import native
from tests.operator.backends import NAMES, Backend, find_backend
from tests.operator.native import ParallelFor
from tests.operator.threads import python_threads, serial_backwards


@pytest.fixture(scope="session")
def library() -> None:
    """Require the built op library."""
    if native.find_library() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("libhaste_ops.so is not built, and CI must test it")
        pytest.skip("libhaste_ops.so is not built (make native)")


# For each test anew: tests of one case on several backends follow each other, and its reference is computed once.
@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every implementation of the operator, one after the other."""
    if request.param == "cpu":
        request.getfixturevalue("library")
    found = find_backend(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(params=native.available_isas() if native.find_library() else ("generic",))
def isa(library: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set that this processor has, one after the other."""
    name: str = request.param
    with native.selected_isa(name):
        yield name


@pytest.fixture(params=("serial", "backwards", "two threads", "three threads"))
def parallel(request: pytest.FixtureRequest) -> ParallelFor | None:
    """Ways to run the tasks of a kernel."""
    ways: dict[str, ParallelFor | None] = {
        "serial": None,
        "backwards": serial_backwards,
        "two threads": python_threads(2),
        "three threads": python_threads(3),
    }
    return ways[request.param]
