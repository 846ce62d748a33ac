"""A caller's pool: every thread of it finds work, and one that does not run its tasks is found out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from tests.operator import native
from tests.operator.c_api import NOT_RUN, OK, NativeError, PoolParams
from tests.operator.cases import Case, build
from tests.operator.native import ParallelFor

pytestmark = pytest.mark.usefixtures("library")
# By chunks, by slices of weights that fit a cache, by slices of those of a single patch.
MAPS = (
    Case(channels=64, outputs=64, height=28, width=28, count=14, kind="relu", patch=7, seed=1),
    Case(channels=128, outputs=128, height=14, width=14, count=14, kind="relu", patch=7, seed=2),
    Case(channels=256, outputs=64, height=7, width=7, count=14, kind="relu", patch=7, seed=3),
)
THREADS = 4


def together(counts: list[int]) -> ParallelFor:
    """A pool whose threads all begin before any goes on; `counts` gets the number of tasks of every call."""

    def run(task: Callable[[int], None], tasks: int) -> None:
        counts.append(tasks)
        at_work = min(THREADS, tasks)
        begin = threading.Barrier(at_work)

        def work(first: int) -> None:
            begin.wait()
            for number in range(first, tasks, at_work):
                task(number)

        threads = [threading.Thread(target=work, args=(first,)) for first in range(at_work)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


@pytest.mark.parametrize("case", MAPS, ids=lambda case: f"{case.channels}x{case.height}")
def test_every_thread_finds_work(case: Case) -> None:
    """How many threads there are shows only while they work, so a few runs may pass before all of them are used."""
    problem = build(case)
    with problem.native_conv() as conv:
        alone = problem.native_run(conv)
        for _ in range(50):
            counts: list[int] = []
            output = problem.native_run(conv, together(counts))
            assert (output.y == alone.y).all()
            assert (output.stats == alone.stats).all()
            if counts and counts[-1] >= THREADS:
                return
    pytest.fail(f"the last run asked the pool for {counts} tasks")


def nothing(_task: Callable[[int], None], _tasks: int) -> None:
    """A pool that has failed."""


def failing_at(call: int) -> ParallelFor:
    """A pool that runs its tasks one by one, but drops the last one of this call."""
    calls = iter(range(1000))

    def run(task: Callable[[int], None], tasks: int) -> None:
        for number in range(tasks - (next(calls) == call)):
            task(number)

    return run


@pytest.mark.parametrize("case", MAPS, ids=lambda case: f"{case.channels}x{case.height}")
@pytest.mark.parametrize("call", [None, 0, 1])
def test_a_pool_that_fails(case: Case, call: int | None) -> None:
    """Where tasks take patches from a queue the others do the work of one that is dropped."""
    problem = build(case)
    pool = nothing if call is None else failing_at(call)
    with problem.native_conv() as conv:
        expected = problem.native_run(conv)
        try:
            output = problem.native_run(conv, pool)
        except NativeError as error:
            status = error.status
        else:
            status = OK
            assert call is not None
            assert (output.y == expected.y).all()
    assert status in (OK, NOT_RUN)


@pytest.mark.parametrize("pool", [lambda: nothing, lambda: failing_at(0)], ids=["nothing", "all but one"])
def test_a_pool_that_fails_the_helpers(pool: Callable[[], ParallelFor]) -> None:
    x = np.ones((2, 32, 4, 4), np.float32)
    params = PoolParams()
    params.is_max = 1
    params.kernel_h = params.kernel_w = params.stride_h = params.stride_w = 2
    runs: tuple[Callable[[], object], ...] = (
        lambda: native.pool(x, params, ("NCHW", "NCHW"), pool()),
        lambda: native.reorder(x, ("NCHW", "blocked"), pool()),
    )
    for run in runs:
        with pytest.raises(NativeError) as error:
            run()
        assert error.value.status == NOT_RUN
