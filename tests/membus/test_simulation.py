"""Simulated traffic: repeatable to the byte, and what the algorithms must move at least."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from haste_export.cli.main import command
from haste_export.errors import CheckFailedError, MissingDependencyError
from haste_export.membus import analytic
from haste_export.membus.geometry import core
from haste_export.membus.layers import MemoryShape, cut_layers, extract
from haste_export.membus.qemu import QemuSimulator, find_qemu, read_record
from haste_export.membus.simulation import Job, total
from haste_export.membus.valgrind import read_profile
from tests.aarch64.models import Layer, make_pair
from tests.built import require_library

A72 = core("cortex-a72")
LAYERS = [Layer(32, 48), Layer(48, 64)]
SIZE = 15


@pytest.fixture(scope="module")
def qemu() -> QemuSimulator:
    try:
        return find_qemu()
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def library() -> str:
    return require_library()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_pair(tmp_path_factory.mktemp("pair"), LAYERS, SIZE)


@pytest.mark.parametrize("cold", [True, False])
@pytest.mark.parametrize("native", [True, False])
def test_the_same_to_the_byte(qemu: QemuSimulator, pair: tuple[Path, Path], native: bool, cold: bool) -> None:
    job = Job(pair[native], native=native)
    assert qemu.simulate(job, A72, cold) == qemu.simulate(job, A72, cold)


def test_a_cold_run_moves_at_least_weights_input_and_output(qemu: QemuSimulator, pair: tuple[Path, Path]) -> None:
    weights = sum(layer.filters * layer.channels * 9 * 4 for layer in LAYERS)
    ends = (LAYERS[0].channels + LAYERS[-1].filters) * SIZE * SIZE * 4
    for native in (False, True):
        traffic = qemu.simulate(Job(pair[native], native=native), A72, cold=True)
        assert weights + ends < traffic.total < 4 * (weights + ends) + 2**20


def test_smaller_caches_move_more(qemu: QemuSimulator, pair: tuple[Path, Path]) -> None:
    job = Job(pair[0])
    small = qemu.simulate(job, core("cortex-a55"), cold=False)
    assert qemu.simulate(job, core("cortex-a76"), cold=False).total <= small.total


def test_a_model_that_does_not_run_says_why(qemu: QemuSimulator, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(CheckFailedError, match=r"bad\.onnx"):
        qemu.simulate(Job(tmp_path / "bad.onnx"), A72, cold=True)


def test_record() -> None:
    line = '{"instructions": 5, "loads": 1, "stores": 1, "read_bytes": 128, "written_bytes": 64, "dirty_bytes": 64}\n'
    traffic = read_record(line * 2)
    assert (traffic.instructions, traffic.total) == (5, 256)
    assert total([traffic, traffic]).as_dict()["total_bytes"] == 512


def test_callgrind_profile() -> None:
    text = (
        "version: 1\nevents: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw ILdmr DLdmr DLdmw\nfn=x\n0 1\n"
        "summary: 100 20 10 5 4 3 1 2 3 0 1 1\n"
    )
    traffic = read_profile(text)
    assert (traffic.instructions, traffic.read_bytes, traffic.written_bytes) == (100, 6 * 64, 2 * 64)
    with pytest.raises(CheckFailedError):
        read_profile("events: Ir\n")


def test_layers_compute_what_the_model_computes(library: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    import onnxruntime

    stock, haste = (onnx.load(path) for path in pair)
    x = np.random.default_rng(0).standard_normal((1, LAYERS[0].channels, SIZE, SIZE)).astype(np.float32)
    layers = cut_layers(stock, haste, ({"x": x}, {"x": x}), library, tmp_path)
    assert [layer.name for layer in layers] == ["conv0", "conv1"]
    assert layers[1].shape == MemoryShape(1, 48, 64, (3, 3), (SIZE, SIZE))
    last = layers[-1].stock
    assert last is not None
    session = onnxruntime.InferenceSession(str(last.model), providers=["CPUExecutionProvider"])
    value = np.load(Path(last.options[1].partition("=")[2]))
    whole = onnxruntime.InferenceSession(str(pair[0]), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    np.testing.assert_allclose(session.run(None, {"y0": value})[0], whole, rtol=1e-4, atol=1e-5)


def test_cutting_needs_all_inputs(pair: tuple[Path, Path]) -> None:
    model = onnx.load(pair[0])
    with pytest.raises(CheckFailedError, match="depends on the model's input x"):
        extract(model, [], "y0")


# Weights beyond the cache, within it, and an input that outweighs them.
SHAPES = [MemoryShape(1, 256, 256, (3, 3), (12, 12)), MemoryShape(1, 64, 64, (3, 3), (24, 24))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_analytic_model_agrees_with_the_simulation(qemu: QemuSimulator, tmp_path: Path, shape: MemoryShape) -> None:
    stock, haste = make_pair(tmp_path, [Layer(shape.channels, shape.filters)], shape.output[0])
    overhead = 2**18  # the engines' own code and tables, read anew after the caches are emptied
    for job, computed in (
        (Job(stock), analytic.stock(shape, A72)),
        (Job(haste, ("--hyperplanes", "10"), native=True), analytic.haste(shape, A72, kept=0.9)),
    ):
        simulated = qemu.simulate(job, A72, cold=True).total - overhead
        assert simulated == pytest.approx(computed.total, rel=0.25), job.model.name


def test_float16_weights_are_half_the_traffic() -> None:
    shape = MemoryShape(1, 256, 256, (3, 3), (6, 6))
    half = replace(shape, weight_size=2)
    assert analytic.passes(shape, A72) == analytic.passes(half, A72) == "1 chunks"
    assert analytic.haste(half, A72).weights * 2 == analytic.haste(shape, A72).weights
    assert analytic.stock(half, A72) == analytic.stock(shape, A72)


@pytest.mark.parametrize(
    ("shape", "passes"),
    [
        (MemoryShape(1, 64, 64, (3, 3), (240, 240)), "weights stay"),
        (MemoryShape(1, 256, 256, (3, 3), (60, 60)), "3 slices"),  # six blocks of 147 KB and patches of 15 KB
        (MemoryShape(1, 512, 512, (3, 3), (30, 30)), "11 slices"),  # three blocks of 295 KB and patches of 31 KB
        (MemoryShape(1, 512, 512, (3, 3), (3, 3)), "1 chunks"),
        (MemoryShape(1, 64, 64, (3, 3), (240, 240), patch=7), "weights stay"),  # 32 patches of 16 KB
        (MemoryShape(1, 128, 256, (3, 3), (60, 60), patch=7), "2 slices"),  # eight blocks of 74 KB
        (MemoryShape(1, 256, 512, (3, 3), (30, 30), patch=6), "3 chunks"),  # 25 patches of 51 KB beside two blocks
        (MemoryShape(1, 512, 512, (3, 3), (30, 30), patch=4), "11 slices"),  # 37 KB of windows a patch
        (MemoryShape(1, 512, 512, (3, 3), (30, 30), patch=6), "16 slices"),  # 102 KB: two blocks and two patches
        (MemoryShape(1, 512, 512, (3, 3), (15, 15), patch=6), "32 slices"),  # two blocks leave most windows in cache
    ],
    ids=str,
)
def test_schedules(shape: MemoryShape, passes: str) -> None:
    assert analytic.passes(shape, A72) == passes


@pytest.mark.parametrize(
    ("kernel", "patch", "floats"),
    [((3, 3), 3, 28), ((3, 3), 4, 36), ((3, 3), 5, 100), ((3, 3), 6, 100), ((3, 3), 7, 124), ((1, 1), 4, 28)],
)
def test_chunks_hold_a_few_patches_however_little_cache_there_is(
    kernel: tuple[int, int], patch: int, floats: int
) -> None:
    """`floats` of a window: as many points as all tiles have, in fours, or what the last subtile may read."""
    plan = analytic.schedule(MemoryShape(1, 60000, 64, kernel, (84, 84), patch=patch), A72)
    assert plan.floats == analytic.STRIP * 60000 * floats // 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Missing argument"),
        (["nope.onnx"], 2, "cannot read nope.onnx"),
        (["STOCK", "--simulate", "z80"], 2, "unknown core 'z80'"),
        (["STOCK", "--simulate", "cortex-a72", "--analytic", "cortex-a72"], 2, "never share a table"),
        (["STOCK", "--per-layer", "--simulate", "cortex-a72"], 2, "no HasteConv"),
        (["HASTE", "--per-layer"], 2, "--per-layer needs"),
        (["STOCK", "--cpus", "x"], 2, "no list of processors"),
        (["STOCK", "--simulate", "cortex-a72", "--threads", "2"], 2, "one thread"),
    ],
)
def test_mistakes_are_explained(
    arguments: list[str], code: int, says: str, pair: tuple[Path, Path], library: str
) -> None:
    names = {"STOCK": str(pair[0]), "HASTE": str(pair[1])}
    result = CliRunner().invoke(command, ["membus", *(names.get(argument, argument) for argument in arguments)])
    assert (result.exit_code, says in result.output) == (code, True), result.output


def test_table_and_json(qemu: QemuSimulator, library: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = [
        "membus",
        *map(str, pair),
        "--simulate",
        "cortex-a53",
        "--per-layer",
        "--hyperplanes",
        "4",
        "--json",
        str(out),
    ]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "simulated" in result.output
    report = json.loads(out.read_text())
    assert (report["level"], report["core"]) == ("simulated", "cortex-a53")
    assert [layer["layer"] for layer in report["layers"]] == ["conv0", "conv1"]
    assert all(layer["stock"]["total_bytes"] > 0 < layer["haste"]["total_bytes"] for layer in report["layers"])


def test_analytic_table(library: str, pair: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(command, ["membus", *map(str, pair), "--analytic", "cortex-a72"])
    assert result.exit_code == 0, result.output
    assert "analytic" in result.output
    assert "simulated" not in result.output
