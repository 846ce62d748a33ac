"""Keeps measured numbers between runs of the commands, so that nothing is measured twice and a run can be resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[2] / "build" / "evidence"
"""Delete it to measure everything again, as after a change of the kernels."""

Key = Mapping[str, Any]
Numbers = dict[str, float]


class Store:
    """Numbers by what they were measured from: a JSON line per entry, appended as soon as it is known.

    Attributes:
        directory: where it lies; other files that are dear to make may lie there too.
    """

    def __init__(self, directory: Path = DIRECTORY) -> None:
        """Read what is there; a line that a killed run cut off is ignored."""
        self.directory = directory
        self._file = directory / "points.jsonl"
        self._entries: dict[str, Numbers] = {}
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                self._entries[digest(entry["key"])] = entry["numbers"]

    def get(self, key: Key) -> Numbers | None:
        """The numbers of this key, or None."""
        return self._entries.get(digest(key))

    def put(self, key: Key, numbers: Numbers) -> None:
        """Remember."""
        self._entries[digest(key)] = numbers
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": dict(key), "numbers": numbers}) + "\n")


def digest(value: Any) -> str:
    """A short name for a JSON value, the same in every process."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
