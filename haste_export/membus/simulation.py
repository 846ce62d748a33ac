"""What a simulated inference moves, and the tools that simulate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from haste_export.membus.geometry import Core


@dataclass(frozen=True)
class Traffic:
    """One simulated inference. Bytes are those between the last cache and memory, in whole lines of 64.

    `dirty_bytes` were changed but still in the caches at the end: they are written later, so a cold run's total
    includes them.
    """

    instructions: int
    read_bytes: int
    written_bytes: int
    dirty_bytes: int

    @property
    def total(self) -> int:
        """Bytes that crossed the bus, or will because of this inference."""
        return self.read_bytes + self.written_bytes + self.dirty_bytes

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {**asdict(self), "total_bytes": self.total}


@dataclass(frozen=True)
class Job:
    """A model to simulate: file, haste-run's options for its input and steering, and whether it needs the library."""

    model: Path
    options: tuple[str, ...] = ()
    native: bool = False


class Simulator(Protocol):
    """A cache model fed by a real program."""

    @property
    def name(self) -> str:
        """What to print: the tool and the instruction set it sees."""

    def simulate(self, job: Job, core: Core, cold: bool) -> Traffic:
        """Run one inference after a warm-up; `cold` empties the caches in between.

        Raises:
            CheckFailedError: the model did not run.
        """


def total(parts: Sequence[Traffic]) -> Traffic:
    """The sum over layers."""
    return Traffic(
        sum(part.instructions for part in parts),
        sum(part.read_bytes for part in parts),
        sum(part.written_bytes for part in parts),
        sum(part.dirty_bytes for part in parts),
    )
