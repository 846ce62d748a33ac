"""The page of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tools.zoo.results import Result, Time

_LEGEND = """How many times as fast as stock ONNX Runtime, which is given the same input shape: ratios of medians, taken
in turns; in brackets the lowest and highest ratio of a pair of turns. A dash: nothing was rewritten, and the result is
the original. *merging pays* is what `haste-export` expects of L = 14 against L = 0. Errors are ‖y − y₀‖ / ‖y₀‖ of the
first output, medians over the inputs: five photographs, two pages, three pieces of lines. At L = 0 they are rounding.
"""


def markdown(header: Mapping[str, str], results: Sequence[Result]) -> str:
    """The page: a table per number of threads, then where each model comes from and what it was fed."""
    lines = [
        "# Other people's models",
        "",
        *(f"* **{key}**: {value}" for key, value in header.items()),
        "",
        _LEGEND.rstrip(),
    ]
    for threads in sorted({time.threads for result in results for time in result.times}):
        lines += ["", f"## {threads} thread{'s' if threads > 1 else ''}", "", *_table(results, threads)]
    lines += ["", "## The models", "", _row(["", "what", "wheel", "file", "input", "fed", "measured", "busy cores"])]
    lines += [_row(["---"] * 8)]
    for result in results:
        shape = "×".join(map(str, result.shape))
        cells = [result.name, result.what, result.requirement, f"`{result.file}`", shape, result.fed, result.date]
        lines.append(_row([*cells, f"{result.busy:.2f}"]))
    return "\n".join(lines) + "\n"


def _table(results: Sequence[Result], threads: int) -> list[str]:
    counts = sorted({time.hyperplanes for result in results for time in result.times if time.hyperplanes is not None})
    heads = ["", "rewritten", "of FLOPs", "merging pays", "stock ms", *(f"L = {count}" for count in counts)]
    heads += [f"error, {count}" for count in counts if count > 0]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for result in results:
        times = [time for time in result.times if time.threads == threads]
        if not times:
            continue
        by_count = {time.hyperplanes: time for time in times}
        gains = [_gain(by_count.get(count)) for count in counts]
        errors = [f"{result.errors[count]:.2g}" if count in result.errors else "–" for count in counts if count > 0]
        stock = float(np.median([time.stock_ms for time in times]))
        pays = {None: "–", True: "yes", False: "no"}[result.pays]
        share = "?" if result.share is None else f"{result.share:.0%}"
        about = [result.name, f"{result.rewritten} of {result.convs}", share, pays, f"{stock:.3g}"]
        lines.append(_row([*about, *gains, *errors]))
    return lines


def _gain(time: Time | None) -> str:
    if time is None or time.speedup is None:
        return "–"
    low, high = time.range or (time.speedup, time.speedup)
    return f"{time.speedup:.2f} ({low:.2f}–{high:.2f})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
