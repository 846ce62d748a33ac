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


@dataclass(frozen=True)
class Document:
    """What a command of the evidence makes.

    Attributes:
        name: of the files.
        markdown: to be read.
        values: the same numbers, not rounded to what can be read.
    """

    name: str
    markdown: str
    values: Mapping[str, Any]

    def write(self, directory: Path) -> Path:
        """Write NAME.md and NAME.json; returns the path of the first."""
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_rounded(self.values), ensure_ascii=False)
        (directory / f"{self.name}.json").write_text(text.replace("}, ", "},\n ") + "\n", encoding="utf-8")
        path = directory / f"{self.name}.md"
        path.write_text(self.markdown, encoding="utf-8")
        return path


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

    def document(self) -> Document:
        """The table as it is written."""
        return Document(self.name, self.markdown(), {"title": self.title, **self.facts, "settings": self.settings})

    def markdown(self) -> str:
        """The Markdown file's text."""
        columns = list(next(iter(self.settings.values()))[0])
        cells = {
            setting: [cell([row[column] for row in rows]) for column in columns]
            for setting, rows in self.settings.items()
        }
        return head(self.title, self.facts) + "\n" + grid(columns, cells)


def head(title: str, facts: Mapping[str, str]) -> str:
    """Title and facts in Markdown."""
    return "\n".join([f"# {title}", "", *(f"* {name}: {text}" for name, text in facts.items())]) + "\n"


def grid(columns: Sequence[str], rows: Mapping[str, Sequence[str]], corner: str = "") -> str:
    """A Markdown table; `rows` maps a row's head to its cells."""
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


def cell(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    mean, deviation = float(np.mean(values)), float(np.std(values))
    digits = 3 if abs(mean) < 1 else 2
    spread = f" ± {deviation:.{digits}f}" if len(values) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def _rounded(value: Any) -> Any:
    """Six digits are more than was measured, and keep the files small."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
