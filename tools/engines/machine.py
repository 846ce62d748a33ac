"""What a reader must know about where and when something was measured."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.engines.environment import ROOT

QUIET_CORES = 0.1  # more than this is no quiet machine


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


def busy_cores(seconds: float = 1.0) -> float:
    """Return how many cores are at work while this process sleeps for some seconds; the load average without /proc.

    To be called when everything of ours is idle or stopped: what is left is what disturbs a measurement.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return os.getloadavg()[0]
    before, start = _busy_ticks(stat), time.monotonic()
    time.sleep(seconds)
    ticks = _busy_ticks(stat) - before
    return ticks / os.sysconf("SC_CLK_TCK") / (time.monotonic() - start)


def _busy_ticks(stat: Path) -> int:
    # The first line: "cpu" user nice system idle iowait irq softirq steal ..., summed over the cores.
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(word) for word in stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    )
    return user + nice + system + irq + softirq + steal


def warn_if_busy(busy: float) -> None:
    """Say on stderr that results are not to be trusted when something else runs."""
    if busy > QUIET_CORES:
        print(f"warning: other programs keep {busy:.1f} cores busy, so these times mean little", file=sys.stderr)
