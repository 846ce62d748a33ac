"""The same bits every time: run again, on more threads, beside other convolutions, on memory of any alignment."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from tests.operator.c_api import INVALID_ARGUMENT
from tests.operator.cases import Case, Problem, build, reproduction, value_cases
from tests.operator.native import ParallelFor, l2_cache, library
from tests.operator.threads import examples, python_threads, serial_backwards

pytestmark = pytest.mark.usefixtures("library")
LAYERS = (
    Case(channels=64, outputs=64, height=17, width=17, count=14, kind="relu", seed=1),
    Case(channels=128, outputs=33, height=7, width=7, count=10, kind="relu", kernel=(1, 1), pads=(0, 0, 0, 0), seed=2),
    Case(channels=19, outputs=20, height=11, width=5, count=8, kernel=(5, 5), patch=2, residual=True, seed=3),
    Case(2, 32, 48, 8, 8, count=0, seed=4, x_layout="blocked", y_layout="blocked"),
    Case(channels=65, outputs=20, height=17, width=18, count=14, kind="relu", patch=4, merge_how="norm", seed=5),
    Case(2, 48, 33, 11, 13, count=0, patch=5, residual=True, seed=6),
    Case(channels=64, outputs=64, height=19, width=23, count=14, kind="relu", patch=6, y_layout="blocked", seed=7),
    Case(channels=64, outputs=80, height=20, width=24, count=14, kind="relu", patch=7, seed=8),
    Case(channels=96, outputs=64, height=7, width=7, count=12, kind="relu", patch=7, seed=9),  # one patch
)


def bits(problem: Problem, parallel: ParallelFor | None = None) -> bytes:
    with problem.native_conv() as conv:
        output = problem.native_run(conv, parallel)
    return output.y.tobytes() + output.stats.tobytes()


def check_same_bits(case: Case) -> None:
    problem = build(case)
    first = bits(problem)
    for name, parallel in (
        ("again", None),
        ("backwards", serial_backwards),
        ("2 threads", python_threads(2)),
        ("3 threads", python_threads(3)),
    ):
        assert bits(problem, parallel) == first, f"{name} gives other bits"


@settings(max_examples=examples(100))
@given(case=value_cases())
def test_any_layer(case: Case) -> None:
    case = replace(case, groups=0, count=case.seed % 33)
    with reproduction(check_same_bits, case):
        check_same_bits(case)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: f"{case.channels}x{case.height}-{case.patch}")
def test_every_instruction_set(case: Case, isa: str, parallel: ParallelFor | None) -> None:
    problem = build(case)
    assert bits(problem, parallel) == bits(problem), isa


SCHEDULES = (
    # weights that stay, chunks, slices of one block and of several, and of some rows at a time, depending on the cache
    Case(channels=512, outputs=128, height=9, width=270, count=10, kind="relu", seed=4),
    Case(channels=128, outputs=64, height=17, width=31, count=14, kind="relu", seed=5),
    Case(channels=256, outputs=112, height=9, width=16, count=10, kind="relu", seed=6, y_layout="NCHW"),
    Case(2, 64, 144, 7, 13, count=0, seed=7, x_layout="blocked", y_layout="blocked"),
    Case(
        channels=96, outputs=80, height=13, width=14, count=12, kernel=(5, 5), pads=(2, 2, 2, 2), residual=True, seed=8
    ),
    Case(channels=320, outputs=96, height=9, width=70, count=10, kind="relu", patch=6, seed=10),
    Case(2, 160, 80, 13, 14, count=0, patch=4, seed=11, x_layout="blocked", y_layout="blocked"),
    Case(channels=320, outputs=96, height=15, width=50, count=10, kind="relu", patch=7, seed=12),
    Case(channels=256, outputs=112, height=7, width=14, count=12, kind="relu", patch=7, seed=13),  # two patches
    Case(channels=192, outputs=256, height=8, width=11, count=8, kernel=(1, 1), pads=(0, 0, 0, 0), seed=9),
)


@pytest.mark.parametrize("case", SCHEDULES, ids=lambda case: f"{case.channels}to{case.outputs}")
def test_any_cache(case: Case) -> None:
    problem = build(case)
    expected = bits(problem)
    for size in (1, 64 << 10, 256 << 10, 640 << 10, 1 << 20, 8 << 20):
        for cores in (1, 4):
            with l2_cache(size, cores), problem.native_conv() as conv:
                for parallel in (None, python_threads(3), serial_backwards, python_threads(2)):
                    output = problem.native_run(conv, parallel)
                    found = output.y.tobytes() + output.stats.tobytes()
                    assert found == expected, f"{size} bytes for {cores} cores give other bits"


def test_a_cache_of_less_than_nothing_is_refused() -> None:
    assert library().haste_set_l2_cache(-1, 1) == INVALID_ARGUMENT
    assert library().haste_set_l2_cache(1 << 20, -1) == INVALID_ARGUMENT


def test_several_convs_at_once() -> None:
    """Different layers in threads of their own, each on two more, share nothing but the scratch pool."""
    problems = [build(case) for case in LAYERS]
    expected = [bits(problem) for problem in problems]
    wrong: list[int] = []

    def work(index: int) -> None:
        same = (bits(problems[index], python_threads(2)) == expected[index] for _ in range(8))
        if not all(same):
            wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(problems)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_one_conv_by_several_threads() -> None:
    """A haste_conv may be run by several threads at once (haste.h)."""
    problem = build(LAYERS[0])
    results: list[bytes] = []
    with problem.native_conv() as conv:
        threads = [
            threading.Thread(target=lambda: results.append(problem.native_run(conv).y.tobytes())) for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 6
    assert len(set(results)) == 1


def test_one_conv_on_many_sizes() -> None:
    """Sizes change between runs; nothing of a larger run is left over in a smaller one."""
    problem = build(LAYERS[0])
    with problem.native_conv() as conv:
        small = np.ascontiguousarray(problem.x[:, :, :4, :5])
        before = conv.run(small, 6)
        conv.run(problem.x, 14)
        conv.run(np.full_like(problem.x, np.nan), 14)
        after = conv.run(small, 6)
    assert (before.y == after.y).all()
    assert (before.stats == after.stats).all()
