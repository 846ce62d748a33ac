"""`haste-run` in lockstep: it runs inferences and walks memory on command, so that counters see exactly that."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from haste_export.errors import CheckFailedError, MissingDependencyError

RUNNER_VARIABLE = "HASTE_RUN"


def find_runner() -> Path:
    """The haste-run of this machine: $HASTE_RUN, the build folder of a source checkout, the search path.

    Raises:
        MissingDependencyError: there is none.
    """
    named = os.environ.get(RUNNER_VARIABLE)
    built = Path(__file__).resolve().parents[2] / "build/haste-run"
    found = named or (str(built) if built.is_file() else shutil.which("haste-run"))
    if not found or not Path(found).is_file():
        raise MissingDependencyError(
            f"haste-run was not found: unpack a bundle and name it in {RUNNER_VARIABLE}, or build it (make native)"
        )
    return Path(found)


class Lockstep:
    """One haste-run process with a model loaded, obeying one command at a time. Use it in a `with` statement."""

    def __init__(self, command: Sequence[str], affinity: set[int] | None = None) -> None:
        """Start the process and wait until the model is loaded.

        Args:
            command: haste-run, the model and its options.
            affinity: processors that the process is pinned to, before it makes its threads.

        Raises:
            CheckFailedError: it ended; carries what it said.
        """
        prefix = ["taskset", "-c", ",".join(map(str, sorted(affinity)))] if affinity else []
        self._process = subprocess.Popen(  # noqa: S603
            [*prefix, *command, "--lockstep"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._loaded = False

    @property
    def pid(self) -> int:
        """The process to count; taskset becomes haste-run under the same number."""
        return self._process.pid

    def __enter__(self) -> Lockstep:
        """Keep it running."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def wait_until_loaded(self) -> None:
        """Return when the model is loaded; counters opened before are inherited by all of the session's threads."""
        if not self._loaded:
            self._answer("ready")
            self._loaded = True

    def run(self, times: int = 1) -> float:
        """Inferences; returns the seconds they took."""
        return self._order(f"run {times}")

    def evict(self, size: int) -> None:
        """Push the model out of caches of up to `size` bytes."""
        self._order(f"evict {size}")

    def prepare(self, stream: str, size: int) -> None:
        """Make the memory that `stream` will walk."""
        self._order(f"prepare {stream} {size}")

    def stream(self, stream: str, size: int) -> float:
        """Read, write or copy `size` bytes; returns seconds."""
        return self._order(f"stream {stream} {size}")

    def _order(self, line: str) -> float:
        self.wait_until_loaded()
        pipe: IO[str] | None = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(line + "\n")
            pipe.flush()
        except BrokenPipeError:
            pass  # the answer tells why
        return float(self._answer("done"))

    def _answer(self, expected: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        word, _, rest = line.strip().partition(" ")
        if word == expected:
            return rest
        _, said = self._process.communicate()
        raise CheckFailedError(said.strip() or f"haste-run answered {line.strip()!r} in place of {expected!r}")
