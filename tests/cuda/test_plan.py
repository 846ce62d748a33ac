"""Launch geometry, shared memory and workspace, planned without a GPU; and that no plan changes a result.

The host library runs any plan, so every way to cut the work is checked for what it computes: little and much shared
memory, weights resident or not, wide and narrow tiles, one launch or many.
"""

from __future__ import annotations

from ctypes import byref, c_float, c_int64
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pytest

from tests.cuda.compare import Cuda
from tests.cuda.target import LIMITS, MATRIX_LIMITS, TYPE, Target
from tests.operator.c_api import ConvParams, Output
from tests.operator.cases import Case, Problem, build
from tests.operator.compare import check_codes, check_values

LANES, MATRIX, ROWS = range(3), 3, 4
"""Shapes of a plan: those where a lane has one output channel, tensor cores, and rows on multiply-add units."""


class Plan(NamedTuple):
    """What haste_cuda_host_plan writes, in its order."""

    tile: int
    resident: int
    convolve_shared: int
    patches_per_block: int
    lanes: int
    hyperplane_group: int
    front_shared: int
    front_slot: int
    windows_shared: int
    patches: int
    chunk: int
    front_blocks: int
    convolve_blocks: int
    shape: int
    output_warps: int
    bucket_warps: int
    output_blocks: int
    grid_shared: int
    workspace: int


@dataclass(frozen=True)
class Gpu:
    """What a plan needs to know of a GPU; sizes in bytes."""

    multiprocessors: int
    shared_per_block: int
    shared_per_multiprocessor: int
    l2: int
    matrix: bool = False
    registers: int = 1 << 16

    def use(self, host: Target) -> None:
        host.limits = (
            *(self.multiprocessors, self.shared_per_block, self.shared_per_multiprocessor, self.l2),
            *(self.registers, int(self.matrix)),
        )
        host.plan_for_limits()


GPUS = {
    "Jetson Nano (5.3)": Gpu(1, 48 << 10, 64 << 10, 256 << 10, registers=1 << 15),
    "Turing (7.5)": Gpu(40, 64 << 10, 64 << 10, 4 << 20),
    "A100 (8.0)": Gpu(108, 163 << 10, 164 << 10, 40 << 20, matrix=True),
    "Orin (8.7)": Gpu(16, 163 << 10, 164 << 10, 4 << 20, matrix=True),
    "Ada (8.9)": Gpu(128, 99 << 10, 100 << 10, 72 << 20),
    "H200 (9.0)": Gpu(132, 227 << 10, 228 << 10, 60 << 20, matrix=True),
}
LAYERS = [
    (3, 64, 3, 240),
    (64, 64, 3, 240),
    (128, 128, 3, 120),
    (256, 256, 3, 60),
    (512, 512, 3, 15),
    (2048, 512, 1, 7),
    (256, 64, 1, 56),
    (4096, 16, 3, 4),
    (48, 32, 7, 20),
]


def plan(
    host: Target,
    gpu: Gpu,
    layer: tuple[int, int, int, int],
    batch: int = 1,
    dtype: str = "float32",
    *,
    count: int = 14,
    patch: int = 3,
) -> Plan:
    channels, outputs, kernel, side = layer
    pad = kernel // 2
    params = ConvParams(
        *(channels, outputs, kernel, kernel, pad, pad, pad, pad, patch, count), 0, 0, (c_float * 2)(), 0, 0, 0, 0
    )
    numbers = (c_int64 * len(Plan._fields))()
    gpu.use(host)
    host.lib.haste_cuda_host_plan(byref(params), TYPE[dtype], batch, side, side, numbers)
    return Plan(*numbers)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("patch", [3, 7])
def test_plans_fit_the_gpu(host: Target, gpu: Gpu, layer: tuple[int, int, int, int], dtype: str, patch: int) -> None:
    channels, outputs, kernel, _ = layer
    for batch in (1, 8, 32):
        made = plan(host, gpu, layer, batch, dtype, patch=patch)
        assert made.front_shared <= gpu.shared_per_block
        assert made.convolve_shared <= gpu.shared_per_block
        weights = channels * kernel**2 * made.tile * np.dtype(dtype).itemsize
        assert not made.resident or weights < made.convolve_shared
        assert made.lanes * made.patches_per_block in (256, 512, 1024)
        assert made.lanes >= 32
        assert made.chunk <= made.patches
        assert made.front_blocks == -(-made.chunk // made.patches_per_block)
        assert 1 <= made.convolve_blocks <= 65535
        window = (kernel + patch - 1) ** 2
        assert made.workspace >= made.chunk * channels * window * 4
        assert made.lanes * made.patches_per_block * 64 <= gpu.registers
        if gpu.matrix:
            assert made.shape == MATRIX
        else:
            assert made.shape in LANES if patch == 3 else made.shape == ROWS
        if made.shape not in LANES:
            assert made.grid_shared <= gpu.shared_per_block
            assert made.output_warps * made.bucket_warps in (1, 2, 4, 8)
            assert made.output_warps * made.bucket_warps * 32 * 255 <= gpu.registers
            assert made.output_blocks * made.output_warps * 32 == made.tile
            assert outputs <= made.tile < outputs + 32


def test_weights_of_middle_layers_stay_in_shared_memory(host: Target) -> None:
    """The point of the form on lanes: with as much shared memory every layer of VGG16 finds a tile that is resident."""
    gpu = replace(GPUS["H200 (9.0)"], matrix=False)
    tiles = [plan(host, gpu, (channels, channels, 3, 30)) for channels in (64, 128, 256, 512)]
    assert all(made.resident for made in tiles)
    assert [made.tile for made in tiles] == [32, 16, 16, 8]


def test_few_patches_fill_a_large_gpu(host: Target) -> None:
    """Where patches are many, warps share windows; where they are few, warps go through different buckets."""
    gpu = GPUS["H200 (9.0)"]
    many = plan(host, gpu, (256, 256, 3, 56), batch=8, patch=7)
    few = plan(host, gpu, (512, 512, 3, 14), patch=7)
    assert (many.output_warps, many.bucket_warps) == (4, 1)
    assert (few.output_warps, few.bucket_warps) == (1, 8)
    assert few.patches * few.output_blocks * few.bucket_warps >= 2 * gpu.multiprocessors


def test_workspace_does_not_grow_with_the_batch(host: Target) -> None:
    """Beyond what fills the GPU, more images mean more launches and not more memory."""
    for gpu in GPUS.values():
        few, many = (plan(host, gpu, (64, 64, 3, 240), batch).workspace for batch in (32, 64))
        assert few == many


SMALL = {
    "no shared memory to speak of": Gpu(2, 4 << 10, 4 << 10, 1 << 20),
    "windows in the workspace": Gpu(2, 14 << 10, 16 << 10, 1 << 20),
    "weights not resident": Gpu(2, 24 << 10, 25 << 10, 1 << 20),
    "tile of 8": Gpu(3, 30 << 10, 32 << 10, 1 << 20),
    "tile of 16": Gpu(3, 46 << 10, 48 << 10, 1 << 20),
    "tile of 32": Gpu(5, 200 << 10, 200 << 10, 8 << 20),
    "tensor cores of one multiprocessor": Gpu(1, 99 << 10, 100 << 10, 1 << 20, matrix=True),
    "tensor cores of many": Gpu(500, 99 << 10, 100 << 10, 1 << 20, matrix=True),
    "tensor cores, little shared memory": Gpu(2, 9 << 10, 10 << 10, 1 << 20, matrix=True),
    "tensor cores, hardly any": Gpu(2, 4 << 10, 4 << 10, 1 << 20, matrix=True),
}
LAYER = Case(channels=64, outputs=20, height=7, width=8, count=20, kind="relu", seed=4, residual=True)


@pytest.mark.parametrize("gpu", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 3)])
def test_no_plan_changes_a_result(host: Target, gpu: Gpu, kernel: tuple[int, int]) -> None:
    gpu.use(host)
    case = replace(LAYER, kernel=kernel)
    cuda = Cuda("host", host)
    check_codes(case, cuda)
    for patch in (3, 4, 7):
        check_values(replace(case, patch=patch), cuda)
    check_values(replace(case, tau=0.4, groups=11), cuda)
    check_values(replace(case, outputs=120), cuda)
    check_values(case, Cuda("host", host, "float16"))


def run(host: Target, problem: Problem) -> Output:
    with Cuda("host", host).conv_of(problem) as conv:
        return conv.run(problem.x, problem.case.count, tau=problem.case.tau, residual=problem.residual)


def test_small_gpus_cover_every_placement(host: Target) -> None:
    """The GPUs above are worth testing only while they lead to different plans."""
    plans = [plan(host, gpu, (64, 40, 3, 10), count=20) for gpu in SMALL.values()]
    assert [made.shape == MATRIX for made in plans] == 6 * [False] + 4 * [True]
    wide = [plan(host, gpu, (64, 120, 3, 10)) for gpu in SMALL.values()]
    assert {made.output_warps for made in wide} == {0, 1, 2, 4}
    assert {made.bucket_warps for made in plans + wide} >= {1, 2, 8}
    for gpu, *made in zip(SMALL.values(), plans, wide, strict=True):
        assert all(each.grid_shared <= gpu.shared_per_block for each in made)
    large = [plan(host, gpu, (64, 40, 3, 10), patch=7) for gpu in SMALL.values()]
    assert {made.shape for made in large} >= {MATRIX, ROWS}
    assert large[0].shape in LANES
    assert large[-1].shape in LANES
    assert {made.tile for made in plans if made.resident} == {8, 16, 32}
    assert any(not made.resident for made in plans)
    assert {made.windows_shared for made in plans} == {0, 1}
    assert {made.patches_per_block > 1 for made in plans} == {True, False}
    assert any(made.front_slot > 0 for made in plans)


def test_many_launches_are_one(host: Target) -> None:
    """A run cut into several pairs of launches gives the bits of a run in one."""
    case = replace(LAYER, channels=512, outputs=16, height=40, width=40, residual=False, groups=60)
    problem = build(case)
    results = []
    for gpu in (Gpu(1, 99 << 10, 100 << 10, 1 << 10), Gpu(64, 99 << 10, 100 << 10, 512 << 20)):
        gpu.use(host)
        results.append(run(host, problem))
    cut = plan(host, Gpu(1, 99 << 10, 100 << 10, 1 << 10), (512, 16, 3, 40))
    assert cut.chunk < cut.patches
    assert (results[0].y == results[1].y).all()
    assert (results[0].stats == results[1].stats).all()


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (2, 3)])
@pytest.mark.parametrize("limits", [LIMITS, MATRIX_LIMITS], ids=["lanes", "tensor cores"])
def test_threads_of_a_phase_are_independent(host: Target, kernel: tuple[int, int], limits: tuple[int, ...]) -> None:
    """Between two barriers no thread may read what another one writes, so their order cannot matter."""
    host.limits = limits
    problem = build(replace(LAYER, kernel=kernel, tau=0.4, count=9))
    results = []
    for order in (0, 1, 2, 5, 11):
        host.lib.haste_cuda_host_thread_order(order)
        results.append(run(host, problem))
    for other in results[1:]:
        assert (other.y == results[0].y).all()
        assert (other.stats == results[0].stats).all()
