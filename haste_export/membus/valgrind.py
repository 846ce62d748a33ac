"""Simulation without an emulator: callgrind's cache model on this machine's own code."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from haste_export.errors import CheckFailedError, MissingDependencyError
from haste_export.membus.geometry import LINE, Cache, Core
from haste_export.membus.runner import find_runner
from haste_export.membus.simulation import Job, Traffic

MEASURED_FUNCTION = "haste_run_measured"


@dataclass(frozen=True)
class ValgrindSimulator:
    """Valgrind, a haste-run with symbols, and the two libraries of this machine."""

    valgrind: str
    runner: Path
    library: str | None
    onnxruntime: str

    @property
    def name(self) -> str:
        """What to print."""
        return "callgrind, this machine's code of both engines (not NEON), first and last cache only"

    def command(self, job: Job, core: Core, cold: bool, out: Path) -> list[str]:
        """The whole command line."""
        caches = [f"--I1={_geometry(core.l1i)}", f"--D1={_geometry(core.l1d)}", f"--LL={_geometry(core.last_level)}"]
        counting = ["--cache-sim=yes", "--simulate-wb=yes", f"--toggle-collect={MEASURED_FUNCTION}"]
        tool = [self.valgrind, "-q", "--tool=callgrind", *counting, *caches, f"--callgrind-out-file={out}"]
        library = ["--library", self.library] if job.native and self.library else ["--no-library"]
        # There is no order to empty these caches; a walk through eight times their size does it.
        runs = ["--threads", "1", "--warmup", "1", "--runs", "1"]
        runs += ["--evict", str(8 * core.last_level.size)] if cold else []
        require = ["--require-native"] if job.native else []
        runner = [str(self.runner), str(job.model.resolve()), "--onnxruntime", self.onnxruntime]
        return ["setarch", "-R", *tool, *runner, *library, *runs, *require, *job.options]

    def simulate(self, job: Job, core: Core, cold: bool) -> Traffic:
        """Run one inference after a warm-up; `cold` empties the caches in between.

        Raises:
            CheckFailedError: the model did not run; carries what haste-run said.
        """
        with tempfile.TemporaryDirectory(prefix="haste-membus-") as folder:
            out = Path(folder) / "out"
            command = self.command(job, core, cold, out)
            done = subprocess.run(command, capture_output=True, text=True, env={}, check=False)  # noqa: S603
            if done.returncode != 0 or not out.is_file():
                raise CheckFailedError(done.stderr.strip() or f"{job.model}: the run ended with {done.returncode}")
            return read_profile(out.read_text(encoding="utf-8", errors="replace"))


def read_profile(text: str) -> Traffic:
    """The sums of a callgrind profile written with --simulate-wb=yes.

    Raises:
        CheckFailedError: it has none.
    """
    events = re.search(r"^events: (.*)$", text, re.MULTILINE)
    totals = re.search(r"^(?:summary|totals): (.*)$", text, re.MULTILINE)
    if not events or not totals:
        raise CheckFailedError("valgrind wrote no totals")
    count = dict(zip(events[1].split(), map(int, totals[1].split()), strict=False))
    fetched = sum(count.get(name, 0) for name in ("ILmr", "DLmr", "DLmw"))
    dirty_evicted = sum(count.get(name, 0) for name in ("ILdmr", "DLdmr", "DLdmw"))
    return Traffic(count.get("Ir", 0), fetched * LINE, dirty_evicted * LINE, 0)


def _geometry(cache: Cache) -> str:
    return f"{cache.size},{cache.ways},{LINE}"


def find_valgrind(onnxruntime: str, library: str | None) -> ValgrindSimulator:
    """Find what is needed on this machine.

    Raises:
        MissingDependencyError: valgrind or haste-run is missing.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise MissingDependencyError("valgrind was not found: install valgrind")
    return ValgrindSimulator(valgrind, find_runner(), library, onnxruntime)
