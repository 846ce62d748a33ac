"""Which counters are chosen on which board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from haste_export.errors import MissingDependencyError
from haste_export.membus.hardware import available_sources
from haste_export.membus.pmu import discover, parse_cpu_list
from haste_export.membus.sources import MAX_EVENTS, Level, cpu_parts
from tests.membus import sysfs

Board = Callable[[Path], None]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "cpuinfo").write_text("")
    return folder


@pytest.mark.parametrize(
    ("board", "cpu", "level", "configs", "says"),
    [
        (sysfs.raspberry_pi_4, 0, Level.CORE_PMU, [0x17, 0x18], "the L2 is the last cache"),
        (sysfs.raspberry_pi_5, 2, Level.CORE_PMU, [0x2A], "reading half only"),
        (sysfs.imx8m_plus, 0, Level.DDR_PMU, [0x41, 0x42], "imx8_ddr0/axid-read"),
        (sysfs.odroid_n2, 4, Level.DDR_PMU, [0x00], "bytes read and written at the memory controller"),
    ],
)  # fmt: skip
def test_best_source_of_a_board(
    board: Board, cpu: int, level: Level, configs: list[int], says: str, tmp_path: Path, proc: Path
) -> None:
    board(tmp_path / "sys")
    best = available_sources(cpu, tmp_path / "sys", proc)[0]
    assert best.level is level
    assert [event.config for event in best.events] == configs
    assert says in best.meaning
    assert best.system_wide == (level is Level.DDR_PMU)
    assert len(best.events) <= MAX_EVENTS


def test_core_counter_is_the_second_choice(tmp_path: Path, proc: Path) -> None:
    sysfs.odroid_n2(tmp_path / "sys")
    sources = available_sources(5, tmp_path / "sys", proc)
    assert [source.level for source in sources] == [Level.DDR_PMU, Level.CORE_PMU]
    assert sources[1].reads.device.name == "armv8_cortex_a73"
    assert available_sources(0, tmp_path / "sys", proc)[1].reads.device.name == "armv8_cortex_a53"


def test_errata_of_the_imx8m_plus_do_not_touch_its_siblings(tmp_path: Path, proc: Path) -> None:
    sysfs.imx8m_plus(tmp_path / "sys")
    (tmp_path / "sys/firmware/devicetree/base/compatible").write_bytes(b"fsl,imx8mm\0")
    best = available_sources(0, tmp_path / "sys", proc)[0]
    assert [event.name for event in best.events] == ["read-cycles", "write-cycles"]


@pytest.mark.parametrize(("cpu", "config"), [(1, 0x2A), (6, 0x2A)])
def test_a_generic_device_is_told_by_part_number(cpu: int, config: int, tmp_path: Path, proc: Path) -> None:
    sysfs.rk3588(tmp_path / "sys")
    (proc / "cpuinfo").write_text(sysfs.rk3588_cpuinfo())
    (source,) = available_sources(cpu, tmp_path / "sys", proc)
    assert source.reads.config == config


def test_unknown_core_is_no_source(tmp_path: Path, proc: Path) -> None:
    sysfs.rk3588(tmp_path / "sys")
    (proc / "cpuinfo").write_text("processor : 0\nCPU part : 0x123\n")
    with pytest.raises(MissingDependencyError, match="--simulate"):
        available_sources(0, tmp_path / "sys", proc)


def test_no_devices_is_an_explained_refusal(tmp_path: Path, proc: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"container.*--simulate") as caught:
        available_sources(0, tmp_path / "sys", proc)
    assert caught.value.exit_code == 3


def test_config_words(tmp_path: Path) -> None:
    sysfs.write_device(tmp_path, "dsu", 9, {}, {"event": "config:0-31", "flag": "config:33"}, cpumask="0")
    (device,) = discover(tmp_path)
    assert device.config("event=0x19") == 0x19
    assert device.config("event=2,flag") == 2 | 1 << 33
    for bad in ("what=1", "flag=2"):
        with pytest.raises(ValueError, match="unknown event term"):
            device.config(bad)


def test_lists_of_processors() -> None:
    assert parse_cpu_list("0-3,6\n") == (0, 1, 2, 3, 6)
    assert parse_cpu_list("") == ()


def test_part_numbers() -> None:
    assert cpu_parts(sysfs.rk3588_cpuinfo()) == {**dict.fromkeys(range(4), 0xD05), **dict.fromkeys(range(4, 8), 0xD0B)}
    assert cpu_parts("processor : 0\nmodel name : Xeon\n") == {}
