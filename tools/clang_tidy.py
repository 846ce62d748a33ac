"""Check every translation unit of a build folder with clang-tidy, as many at a time as there are cores.

Usage: clang_tidy.py CLANG_TIDY BUILD. A source that is compiled once per instruction set is checked for the first of
them: the sets differ in a few lines of one header, and the checks take minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def one_command_per_source(commands: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the first command of every source that clang-tidy can read, which CUDA sources are not."""
    first: dict[str, dict[str, Any]] = {}
    for command in commands:
        if not command["file"].endswith(".cu"):
            first.setdefault(command["file"], command)
    return list(first.values())


def check(clang_tidy: str, database: Path, source: str) -> tuple[str, str, bool]:
    """Return (source, what clang-tidy printed, whether it was clean)."""
    command = [clang_tidy, "-p", str(database), "--quiet", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = done.stdout if done.stdout else done.stderr
    return source, report.strip(), done.returncode == 0


def main(clang_tidy: str, build: Path) -> int:
    """Check all sources named by compile_commands.json; exit code 1 when one is not clean."""
    commands = one_command_per_source(json.loads((build / "compile_commands.json").read_text()))
    sources = sorted(command["file"] for command in commands)
    failed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        (Path(folder) / "compile_commands.json").write_text(json.dumps(commands))
        for source, report, clean in pool.map(lambda source: check(clang_tidy, Path(folder), source), sources):
            if not clean:
                failed += 1
                print(f"{source}\n{report}", file=sys.stderr)
    print(f"clang-tidy: {len(sources) - failed} of {len(sources)} sources clean")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
