"""Programs for another processor, run under QEMU's user mode."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from haste_export.membus.geometry import CORES, write_system_root
from haste_export.reference import Float32, Labels
from tests.operator.c_api import to_memory
from tests.operator.cases import Problem

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 240


@dataclass(frozen=True)
class Target:
    """A processor family: the compiler's triple, QEMU's program for it, the build of its bundle."""

    triple: str
    qemu: str

    @property
    def build(self) -> Path | None:
        found = sorted((ROOT / "build/bundle").glob(f"haste-*-{self.triple}"))
        return found[-1] if found and (found[-1] / "libhaste_ops.so").is_file() else None

    def missing(self) -> str | None:
        """What this machine lacks to run it, or None."""
        if shutil.which(self.qemu) is None:
            return f"{self.qemu} is not installed (tests/aarch64/setup)"
        if shutil.which(f"{self.triple}-g++") is None:
            return f"{self.triple}-g++ is not installed (tests/aarch64/setup)"
        if self.build is None:
            return f"no bundle was built (make bundle TARGET={self.triple})"
        return None

    def run(self, system_root: Path, cpu: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.qemu, "-cpu", cpu, "-L", str(system_root), *command],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )


AARCH64 = Target("aarch64-linux-gnu", "qemu-aarch64")
ARMV7 = Target("arm-linux-gnueabihf", "qemu-arm")


def make_system_root(folder: Path, target: Target) -> Path:
    """A Raspberry Pi 4's /proc/cpuinfo and caches, and the target's C library."""
    write_system_root(folder, CORES["cortex-a72"], Path("/usr") / target.triple / "lib")
    return folder


def compile_program(source: Path, out: Path, target: Target) -> Path:
    """Compile one file for the target."""
    include = ROOT / "cpp_ops/include"
    static = ["-static-libstdc++", "-static-libgcc"]
    command = [
        f"{target.triple}-g++",
        "-std=c++17",
        "-O1",
        f"-I{include}",
        *static,
        str(source),
        "-o",
        str(out),
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return out


def write_case(problem: Problem, path: Path) -> None:
    """What run_cases.cpp reads."""
    case = problem.case
    params = case.options.params(problem.weights, problem.hyperplanes)
    weights = case.options.stored(problem.weights)
    residual = to_memory(problem.residual, case.z_layout) if problem.residual is not None else np.zeros(0, np.float32)
    counts = (
        *(problem.x.size, weights.size, problem.bias.size, problem.hyperplanes.size),
        *(residual.size, int(np.prod(output_shape(problem))), case.batch * case.patches * case.channels),
    )
    flags = (problem.residual is not None, problem.labels is not None)
    head = struct.pack("=13q", case.batch, case.height, case.width, case.count, *flags, *counts)
    arrays: list[NDArray[np.generic]] = [
        to_memory(problem.x, case.x_layout), weights, problem.bias, problem.hyperplanes, residual,
    ]  # fmt: skip
    if problem.labels is not None:
        arrays.append(problem.labels)
    tail = struct.pack("=f4x", case.tau)
    path.write_bytes(bytes(params) + head + tail + b"".join(array.tobytes() for array in arrays))


def output_shape(problem: Problem) -> tuple[int, int, int, int]:
    geometry = problem.case.geometry
    return problem.case.batch, problem.case.outputs, geometry.out_h, geometry.out_w


@dataclass(frozen=True)
class Result:
    """What run_cases.cpp wrote: codes [N, P, C], y as it lies in memory, stats [8]."""

    codes: Labels
    y: Float32
    stats: Float32


def read_result(problem: Problem, path: Path, isa: str) -> Result:
    case = problem.case
    data = path.with_name(f"{path.name}.{isa}").read_bytes()
    codes = case.batch * case.patches * case.channels
    floats = np.frombuffer(data, np.float32, offset=4 * codes)
    return Result(
        np.frombuffer(data, np.uint32, codes).reshape(case.batch, case.patches, case.channels), floats[:-8], floats[-8:]
    )
