"""Ctrl-C where it must not come in between."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_back() -> Iterator[None]:
    """Block SIGINT, for processes that are started meanwhile too, and raise KeyboardInterrupt afterwards if it came.

    Blocking alone is not enough: threads that ONNX Runtime or a BLAS has started still take the signal. In another
    thread than the main one nothing is to be done, because KeyboardInterrupt is raised in the main one alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if came:
        raise KeyboardInterrupt
