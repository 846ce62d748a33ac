"""Ways to run the tasks of a kernel: real threads, and an order that no thread pool would choose."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable

from tests.operator.native import ParallelFor

THOROUGH = os.environ.get("HASTE_THOROUGH", "") not in ("", "0")


def examples(moderate: int, thorough: int | None = None) -> int:
    """How many examples hypothesis draws: HASTE_THOROUGH=1 asks for the second number, twenty times the first."""
    return (thorough or 20 * moderate) if THOROUGH else moderate


def python_threads(count: int) -> ParallelFor:
    """Run tasks on `count` Python threads, each taking the next task when it is done with its own."""

    def run(task: Callable[[int], None], tasks: int) -> None:
        numbers = itertools.count()

        def work() -> None:
            while (number := next(numbers)) < tasks:
                task(number)

        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def serial_backwards(task: Callable[[int], None], tasks: int) -> None:
    """Run tasks one by one, the last first."""
    for number in reversed(range(tasks)):
        task(number)
