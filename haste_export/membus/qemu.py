"""Simulation of the real aarch64 instructions: QEMU's user mode with the cache plugin of tools/qemu_plugin."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from haste_export.errors import CheckFailedError, MissingDependencyError
from haste_export.membus.geometry import Cache, Core, write_system_root
from haste_export.membus.simulation import Job, Traffic

ROOT = Path(__file__).resolve().parents[2]
PLUGIN_SOURCE = ROOT / "tools/qemu_plugin/cache_traffic.cpp"
TRIPLE = "aarch64-linux-gnu"
# The emulated processor decides which instructions exist, the simulated core which caches. Current ONNX Runtimes want
# ARMv8.2.
EMULATED = "neoverse-n1"
BUNDLE_VARIABLE = "HASTE_AARCH64_BUNDLE"
RUNTIME_VARIABLE = "HASTE_AARCH64_ONNXRUNTIME"


@dataclass(frozen=True)
class QemuSimulator:
    """What the simulation needs: QEMU, the plugin, a bundle's folder, ONNX Runtime and the C library for aarch64."""

    qemu: str
    plugin: Path
    bundle: Path
    onnxruntime: Path
    libraries: Path

    @property
    def name(self) -> str:
        """What to print."""
        return f"QEMU cache plugin, aarch64 NEON code of both engines, {self.onnxruntime.name}"

    def command(self, job: Job, core: Core, cold: bool, system_root: Path, out: Path) -> list[str]:
        """The whole command line. Addresses, seeds and environment are fixed: the result repeats to the byte."""
        plugin = f"{self.plugin},{','.join(_geometry(core))},out={out}"
        emulator = [self.qemu, "-seed", "1", "-cpu", EMULATED, "-L", str(system_root), "-plugin", plugin]
        library = ["--library", str(self.bundle / "libhaste_ops.so")] if job.native else ["--no-library"]
        runner = [str(self.bundle / "haste-run"), str(job.model.resolve()), "--onnxruntime", str(self.onnxruntime)]
        runs = ["--threads", "1", "--warmup", "1", "--runs", "1", "--marks", *(["--evict", "1"] if cold else [])]
        require = ["--require-native"] if job.native else []
        return ["setarch", "-R", *emulator, *runner, *library, *runs, *require, *job.options]

    def simulate(self, job: Job, core: Core, cold: bool) -> Traffic:
        """Run one inference after a warm-up; `cold` empties the caches in between.

        Raises:
            CheckFailedError: the model did not run; carries what haste-run said.
        """
        with tempfile.TemporaryDirectory(prefix="haste-membus-") as folder:
            # A fixed name: paths are arguments, arguments lie on the stack, and the stack's place decides the sets of
            # its lines.
            root, out = Path(folder) / "root", Path(folder) / "out"
            write_system_root(root, core, self.libraries)
            command = self.command(job, core, cold, root, out)
            done = subprocess.run(command, capture_output=True, text=True, env={}, check=False)  # noqa: S603
            if done.returncode != 0 or not out.is_file():
                raise CheckFailedError(
                    done.stderr.strip() or f"{job.model}: the emulated run ended with {done.returncode}"
                )
            return read_record(out.read_text(encoding="ascii"))


def read_record(text: str) -> Traffic:
    """The last record that the plugin wrote."""
    record = json.loads(text.strip().splitlines()[-1])
    return Traffic(record["instructions"], record["read_bytes"], record["written_bytes"], record["dirty_bytes"])


def _geometry(core: Core) -> list[str]:
    caches: dict[str, Cache | None] = {"l1i": core.l1i, "l1d": core.l1d, "l2": core.l2, "l3": core.l3}
    return [f"{name}={cache.size}:{cache.ways}" for name, cache in caches.items() if cache is not None]


def find_qemu(build: Path = ROOT / "build") -> QemuSimulator:
    """Find or make everything that is needed.

    Raises:
        MissingDependencyError: something is missing; says what to install or to run.
    """
    qemu = shutil.which("qemu-aarch64")
    if qemu is None:
        raise MissingDependencyError("qemu-aarch64 was not found: install qemu-user, or use --simulator valgrind")
    libraries = Path(f"/usr/{TRIPLE}/lib")
    if not libraries.is_dir():
        raise MissingDependencyError("the C library for aarch64 was not found: install libc6-arm64-cross")
    return QemuSimulator(qemu, build_plugin(qemu, build), find_bundle(build), find_runtime(build), libraries)


def build_plugin(qemu: str, build: Path) -> Path:
    """Compile the plugin for the installed QEMU, unless that was done already."""
    if not PLUGIN_SOURCE.is_file():
        raise MissingDependencyError("the QEMU plugin's source is only in a source checkout; use --simulator valgrind")
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise MissingDependencyError("no C++ compiler to build the QEMU plugin with: install g++")
    version = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    found = re.search(r"version (\d+)", version)
    interface = 1 if found and int(found[1]) < 9 else 2
    plugin = build / "qemu_plugin" / f"libcache_traffic_v{interface}.so"
    sources = sorted(PLUGIN_SOURCE.parent.glob("*.[ch]*"))
    if plugin.is_file() and plugin.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return plugin
    plugin.parent.mkdir(parents=True, exist_ok=True)
    flags = ["-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-DHASTE_QEMU_PLUGIN_VERSION={interface}"]
    command = [compiler, *flags, str(PLUGIN_SOURCE), "-o", str(plugin)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise MissingDependencyError(f"the QEMU plugin could not be built: {done.stderr.strip()}")
    return plugin


def find_bundle(build: Path) -> Path:
    """Folder of an unpacked aarch64 bundle: $HASTE_AARCH64_BUNDLE, or what `make bundle` built."""
    return _first(
        [os.environ.get(BUNDLE_VARIABLE), *sorted((build / "bundle").glob(f"haste-*-{TRIPLE}"), reverse=True)],
        lambda path: (path / "haste-run").is_file() and (path / "libhaste_ops.so").is_file(),
        f"no aarch64 bundle: run `make bundle`, or unpack one and name its folder in {BUNDLE_VARIABLE}",
    )


def find_runtime(build: Path) -> Path:
    """An aarch64 libonnxruntime.so: $HASTE_AARCH64_ONNXRUNTIME, or what `make test-aarch64` fetched."""
    return _first(
        [os.environ.get(RUNTIME_VARIABLE), *sorted((build / "aarch64/onnxruntime").glob("libonnxruntime.so*"))],
        Path.is_file,
        f"no ONNX Runtime for aarch64: run tests/aarch64/setup, or name its libonnxruntime.so in {RUNTIME_VARIABLE}",
    )


def _first(candidates: Sequence[str | Path | None], usable: Callable[[Path], bool], complaint: str) -> Path:
    for candidate in candidates:
        if candidate and usable(Path(candidate)):
            return Path(candidate).resolve()
    raise MissingDependencyError(complaint)
