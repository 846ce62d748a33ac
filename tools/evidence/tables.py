"""Tables of means and deviations over seeds, written as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parents[2] / "docs" / "results"
Row = Mapping[str, float]


@dataclass
class Table:
    """Rows by setting, one entry per seed.

    Attributes:
        name: of the files.
        title: first line.
        facts: what a reader must know to repeat it.
        settings: setting -> one row of numbers per seed.
    """

    name: str
    title: str
    facts: Mapping[str, str]
    settings: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, setting: str, row: Row) -> None:
        """One seed's numbers at one setting."""
        self.settings.setdefault(setting, []).append(row)

    def write(self, directory: Path = RESULTS) -> Path:
        """Write NAME.md and NAME.json; returns the path of the first."""
        directory.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {"title": self.title, **self.facts, "settings": self.settings}
        (directory / f"{self.name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        path = directory / f"{self.name}.md"
        path.write_text(self.markdown(), encoding="utf-8")
        return path

    def markdown(self) -> str:
        """The Markdown file's text."""
        columns = list(next(iter(self.settings.values()))[0])
        lines = [f"# {self.title}", ""]
        lines += [f"* {name}: {text}" for name, text in self.facts.items()]
        lines += ["", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for setting, rows in self.settings.items():
            cells = [_cell([row[column] for row in rows]) for column in columns]
            lines.append(f"| {setting} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def _cell(values: Sequence[float]) -> str:
    mean, deviation = float(np.mean(values)), float(np.std(values))
    digits = 3 if abs(mean) < 1 else 2
    spread = f" ± {deviation:.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"
