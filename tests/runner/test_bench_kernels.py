"""The micro-benchmark of the kernels runs, on layers of fewer patches than are prepared together as well."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.built import require_library


def run(shapes: Path, layer: str) -> subprocess.CompletedProcess[str]:
    program = Path(require_library()).with_name("haste-bench-kernels")
    if not program.is_file():
        pytest.skip("haste-bench-kernels is not built (cmake --preset release)")
    shapes.write_text(f"# a comment\n{layer}\n")
    return subprocess.run([program, shapes, "--hyperplanes", "6"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("layer", "patches"),
    [("32 48 7 7 3 3", 1), ("16 32 14 14 3 3", 4), ("32 16 4 5 1 1", 4), ("16 16 50 8 3 3", 16)],
)
def test_every_stage_is_timed(tmp_path: Path, layer: str, patches: int) -> None:
    done = run(tmp_path / "shapes.txt", layer)
    assert done.returncode == 0, done.stderr
    chunk = re.search(rf": (\d+) of {patches} patches, (\d+) buckets", done.stdout)
    assert chunk is not None, done.stdout
    assert 0 < int(chunk[1]) <= patches
    assert 0 < int(chunk[2]) <= int(layer.split()[0])
    for stage in ("gather", "hash", "group and merge", "convolve as hashed", "the whole layer", "convolve, 1 a bucket"):
        assert re.search(rf"^  {stage} +-?\d+ ns", done.stdout, re.MULTILINE), stage


@pytest.mark.parametrize(
    ("layer", "says"), [("20 16 7 7 3 3", "multiple of 16 channels, not 20"), ("16 16 7", "not a shape")]
)
def test_a_layer_that_cannot_be_measured(tmp_path: Path, layer: str, says: str) -> None:
    done = run(tmp_path / "shapes.txt", layer)
    assert done.returncode == 2
    assert says in done.stderr
