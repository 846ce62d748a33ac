"""Cache geometries, read and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from haste_export.errors import OptionError
from haste_export.membus.geometry import CORES, LINE, core, last_level_bytes, write_system_root


@pytest.mark.parametrize("name", sorted(CORES))
def test_sizes_are_whole_sets(name: str) -> None:
    shown = core(name)
    for cache in filter(None, (shown.l1i, shown.l1d, shown.l2, shown.l3)):
        sets, rest = divmod(cache.size, LINE * cache.ways)
        assert rest == 0
        assert sets & (sets - 1) == 0


def test_unknown_core_names_the_known() -> None:
    with pytest.raises(OptionError, match="cortex-a72"):
        core("cortex-m0")


@pytest.mark.parametrize("name", ["cortex-a72", "cortex-a76"])
def test_what_is_shown_can_be_read_back(name: str, tmp_path: Path) -> None:
    write_system_root(tmp_path, core(name), Path("/usr/lib"))
    assert last_level_bytes(tmp_path / "sys", 0) == core(name).last_level.size
    assert f"CPU part\t: {core(name).part:#05x}" in (tmp_path / "proc/cpuinfo").read_text()


def test_boards_without_cache_nodes(tmp_path: Path) -> None:
    assert last_level_bytes(tmp_path, 0) is None
