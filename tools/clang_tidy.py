"""Check every translation unit of a build folder with clang-tidy, as many at a time as there are cores.

Usage: clang_tidy.py CLANG_TIDY BUILD. A source that is compiled once per instruction set is checked once per set of
flags, as the compiler sees it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def check(clang_tidy: str, build: Path, source: str) -> tuple[str, str, bool]:
    """Return (source, what clang-tidy printed, whether it was clean)."""
    command = [clang_tidy, "-p", str(build), "--quiet", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = done.stdout if done.stdout else done.stderr
    return source, report.strip(), done.returncode == 0


def main(clang_tidy: str, build: Path) -> int:
    """Check all sources named by compile_commands.json; exit code 1 when one is not clean."""
    commands = json.loads((build / "compile_commands.json").read_text())
    sources = sorted({command["file"] for command in commands if not command["file"].endswith(".cu")})
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, report, clean in pool.map(lambda source: check(clang_tidy, build, source), sources):
            if not clean:
                failed += 1
                print(f"{source}\n{report}", file=sys.stderr)
    print(f"clang-tidy: {len(sources) - failed} of {len(sources)} sources clean")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
