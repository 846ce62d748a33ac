"""The operator on emulated ARM processors: hash codes bit-identical to the reference's, values within a tolerance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from haste_export.reference import hash_codes
from tests.aarch64.emulated import (
    AARCH64,
    ARMV7,
    ROOT,
    Target,
    compile_program,
    make_system_root,
    read_result,
    write_case,
)
from tests.operator.bounds import tolerance
from tests.operator.c_api import from_memory
from tests.operator.cases import KINDS, PATCHES, Case, Problem, build
from tests.operator.compare import assert_within

# Any data must hash alike. Shapes around the vector width of four and the block of sixteen; the patch does not divide
# the output.
CODES = [
    Case(channels=channels, outputs=1, height=8, width=11, kernel=kernel, count=count, kind=kind, seed=seed)
    for seed, (channels, kernel, count, kind) in enumerate(
        [(c, k, n, KINDS[i % len(KINDS)])
         for i, (c, k, n) in enumerate(
            [(c, k, n) for c in (1, 3, 15, 16, 17, 33, 64) for k in ((1, 1), (3, 3), (5, 5)) for n in (1, 14, 32)])]
    )
]  # fmt: skip
VALUES = [
    Case(channels=48, outputs=33, height=9, width=10, kind="relu", count=6, seed=1),
    Case(channels=64, outputs=32, kind="relu", count=8, merge_how="mean", activation="Relu", seed=2),
    Case(channels=33, outputs=17, kernel=(1, 1), pads=(0, 0, 0, 0), count=4, activation="LeakyRelu", seed=3),
    Case(channels=16, outputs=16, kernel=(5, 5), pads=(2, 2, 2, 2), patch=2, residual=True, activation="Clip", seed=4),
    Case(channels=32, outputs=32, x_layout="blocked", y_layout="blocked", z_layout="blocked", residual=True, seed=5),
    Case(channels=32, outputs=48, w_layout="packed", groups=5, activation="Silu", seed=6),
    Case(channels=32, outputs=48, w_layout="packed", groups=200, merge_how="mean", activation="HardSwish", seed=7),
    Case(channels=17, outputs=20, count=0, activation="Sigmoid", seed=8),
    Case(batch=2, channels=31, outputs=16, height=5, width=13, kind="scaled", count=5, seed=9),
    Case(batch=0, channels=16, outputs=16, seed=10),
    Case(channels=16, outputs=16, kernel=(1, 3), pads=(0, 1, 0, 1), patch=3, count=9, seed=11),
    Case(channels=48, outputs=33, height=9, width=10, w_type="float16", w_layout="packed", groups=5, seed=12),
    Case(channels=48, outputs=33, w_type="float16", w_layout="packed", groups=200, merge_how="mean", seed=13),
    Case(channels=33, outputs=17, kernel=(1, 1), pads=(0, 0, 0, 0), w_type="float16", groups=9, seed=14),
    Case(channels=17, outputs=20, kernel=(5, 5), pads=(2, 2, 2, 2), w_type="float16", count=6, seed=15),
    Case(channels=17, outputs=20, w_type="float16", count=0, seed=16),
    # Patches in tiles; the output ends within a first tile, within a second one, and between.
    *(
        Case(
            channels=33, outputs=20, height=height, width=width, patch=patch, kind="relu", count=count, seed=17 + patch
        )
        for patch in PATCHES[1:]
        for height, width, count in ((patch, patch + 1, 5), (2 * patch - 1, 2 * patch, 0))
    ),
    Case(channels=32, outputs=48, height=14, width=21, patch=7, w_layout="packed", groups=9, residual=True, seed=30),
    Case(channels=32, outputs=32, height=12, width=9, patch=6, x_layout="blocked", y_layout="blocked", seed=31),
    Case(channels=48, outputs=33, height=9, width=10, patch=7, w_type="float16", groups=20, merge_how="mean", seed=32),
]
# The vector unit of 32-bit ARM treats denormal numbers as zero and cannot be told not to.
FLUSHED = ("denormal", "special")
PROCESSORS = [(AARCH64, "neoverse-n1"), (AARCH64, "cortex-a72"), (AARCH64, "cortex-a53"), (ARMV7, "max")]


@pytest.fixture(params=PROCESSORS, ids=lambda p: f"{p[0].triple}-{p[1]}")
def processor(request: pytest.FixtureRequest) -> tuple[Target, str]:
    target, cpu = request.param
    missing = target.missing()
    if missing:
        pytest.skip(missing)
    return target, cpu


def run_everywhere(
    problems: list[Problem], processor: tuple[Target, str], folder: Path
) -> tuple[list[Path], list[str]]:
    target, cpu = processor
    assert target.build is not None
    paths = [folder / f"case{index}" for index in range(len(problems))]
    for problem, path in zip(problems, paths, strict=True):
        write_case(problem, path)
    program = compile_program(ROOT / "tests/aarch64/run_cases.cpp", folder / "run_cases", target)
    library = target.build / "libhaste_ops.so"
    done = target.run(make_system_root(folder / "root", target), cpu, [str(program), str(library), *map(str, paths)])
    assert done.returncode == 0, done.stderr
    isas = done.stdout.split()
    assert isas == ["neon", "generic"]
    return paths, isas


def test_codes_are_those_of_the_reference(processor: tuple[Target, str], tmp_path: Path) -> None:
    problems = [build(case) for case in CODES]
    paths, isas = run_everywhere(problems, processor, tmp_path)
    for problem, path in zip(problems, paths, strict=True):
        expected = hash_codes(problem.windows(), problem.hyperplanes, problem.case.count)
        for isa in isas:
            if processor[0] is ARMV7 and isa == "neon" and problem.case.kind in FLUSHED:
                continue
            codes = read_result(problem, path, isa).codes
            assert np.array_equal(codes, expected), f"{isa}: {(codes != expected).sum()} codes differ, {problem.case}"


def test_values_agree_with_the_reference(processor: tuple[Target, str], tmp_path: Path) -> None:
    problems = [build(case) for case in VALUES]
    paths, isas = run_everywhere(problems, processor, tmp_path)
    for problem, path in zip(problems, paths, strict=True):
        expected = problem.reference()
        allowed = tolerance(problem, expected)
        for isa in isas:
            result = read_result(problem, path, isa)
            y = from_memory(result.y, expected.y.shape, problem.case.y_layout)
            try:
                assert_within(y.astype(np.float64), expected.y, allowed)
            except AssertionError as error:
                raise AssertionError(f"{isa}: {error}\n{problem.case}") from error
