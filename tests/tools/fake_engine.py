"""An engine for the coordinator's tests; its option says how it behaves."""

from __future__ import annotations

import os
import sys
import time

from tools.engines.adapters.base import Array, Job, NotAvailableError, Outputs, Runner


class _Fake:
    def __init__(self, behaviour: str) -> None:
        self._behaviour = behaviour

    def version(self) -> str:
        return "fake 1"

    def prepare(self, job: Job) -> dict[str, Runner]:
        print("engines may print")  # must not disturb the exchange with the coordinator
        if self._behaviour == "unavailable":
            raise NotAvailableError("needs another processor")
        if self._behaviour == "broken":
            raise ValueError("cannot   convert\nthis")
        if self._behaviour == "exits":
            sys.exit(7)
        if self._behaviour == "hangs":
            time.sleep(600)

        def run(x: Array) -> Outputs:
            if self._behaviour == "crashes":
                os.abort()
            return [x * 2, x + float(os.environ["OMP_NUM_THREADS"])]

        return {"double": run}


def engine(option: str) -> _Fake:
    return _Fake(option)
