"""Writes what was measured: Markdown, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.engines.results import Row

_HEADINGS = (
    "engine",
    "ms (median)",
    "quartiles",
    "× stock",
    "cores used",
    "runs",
    "feature error",
    "score error",
    "top-1 agrees",
)


@dataclass(frozen=True)
class Table:
    """The rows of one number of threads, and how many cores others kept busy before and after."""

    threads: int
    rows: Sequence[Row]
    busy: tuple[float, float]


def markdown(title: str, header: Mapping[str, str], tables: Sequence[Table]) -> str:
    """Return the page: header, one table per number of threads, and what could not be measured."""
    lines = [f"# {title}", ""]
    lines += [f"* **{key}**: {value}" for key, value in header.items()]
    for table in tables:
        lines += ["", f"## {_threads(table.threads)}", ""]
        lines += _grid([_cells(row) for row in table.rows if row.median is not None])
        failed = [row for row in table.rows if row.failure is not None]
        lines += ["", "Not measured, or not to the end:", ""] * bool(failed)
        lines += [f"* **{row.label}**: {row.failure}" for row in failed]
        before, after = table.busy
        lines += ["", f"Cores kept busy by other programs: {before:.2f} before measuring, {after:.2f} after."]
    return "\n".join(lines) + "\n"


def write(folder: Path, title: str, header: Mapping[str, str], tables: Sequence[Table]) -> list[Path]:
    """Write engines.md, engines.json and one picture per number of threads.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / "engines.md", folder / "engines.json"
    page.write_text(markdown(title, header, tables), encoding="utf-8")
    content: dict[str, Any] = {"title": title, "header": dict(header), "tables": [asdict(table) for table in tables]}
    data.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    pictures = [folder / f"engines-{table.threads}.png" for table in tables]
    from tools.engines import picture  # matplotlib takes a second to load, and tables do not need it

    for table, path in zip(tables, pictures, strict=True):
        picture.draw(path, f"{title}, {_threads(table.threads)}", table.rows)
    return [page, data, *pictures]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _cells(row: Row) -> list[str]:
    assert row.median is not None
    return [
        row.label,
        f"{row.median:.1f}",
        f"{row.first_quartile:.1f}-{row.third_quartile:.1f}",
        f"{row.speedup:.2f}",
        f"{row.cores:.2f}",
        str(row.runs),
        _error(row.feature_error),
        _error(row.score_error),
        f"{row.top1}/{row.inputs}",
    ]


def _error(value: float | None) -> str:
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.2g}"


def _grid(cells: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---"] + ["---:"] * (len(_HEADINGS) - 1)
    return ["| " + " | ".join(line) + " |" for line in (_HEADINGS, rule, *cells)]
