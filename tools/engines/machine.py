"""What a reader must know about where and when something was measured."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.engines.environment import ROOT


def processor() -> str:
    """Return the processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def command_line(script: str, arguments: Sequence[str]) -> str:
    """Return the command to repeat the run, with paths inside the repository relative to its root."""
    root = f"{ROOT}{os.sep}"
    return shlex.join(["python", script, *(argument.replace(root, "") for argument in arguments)])


def describe(script: str) -> dict[str, str]:
    """Return the header common to all results."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "date": now.strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"`{command_line(script, sys.argv[1:])}`",
        "Python": platform.python_version(),
    }


def load() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def warn_if_busy(load_average: float) -> None:
    """Say on stderr that results are not to be trusted when something else runs."""
    if load_average > 0.5:
        print(
            f"warning: load average {load_average:.2f}; something else is running, so these times mean little",
            file=sys.stderr,
        )
