"""The same bits every time: run again, on more threads, beside other convolutions, on memory of any alignment."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from tests.operator.cases import Case, Problem, build, reproduction, value_cases
from tests.operator.native import ParallelFor
from tests.operator.threads import examples, python_threads, serial_backwards

pytestmark = pytest.mark.usefixtures("library")
LAYERS = (
    Case(channels=64, outputs=64, height=17, width=17, count=14, kind="relu", seed=1),
    Case(channels=128, outputs=33, height=7, width=7, count=10, kind="relu", kernel=(1, 1), pads=(0, 0, 0, 0), seed=2),
    Case(channels=19, outputs=20, height=11, width=5, count=8, kernel=(5, 5), patch=2, residual=True, seed=3),
    Case(2, 32, 48, 8, 8, count=0, seed=4, x_layout="blocked", y_layout="blocked"),
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


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: f"{case.channels}x{case.height}")
def test_every_instruction_set(case: Case, isa: str, parallel: ParallelFor | None) -> None:
    problem = build(case)
    assert bits(problem, parallel) == bits(problem), isa


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
