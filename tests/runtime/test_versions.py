"""One version: of the distribution, both packages, the C header and the built library."""

from __future__ import annotations

import re

from runtime_ops import __version__, native

from .conftest import ROOT


def written(path: str, pattern: str) -> str:
    match = re.search(pattern, (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None
    return match.group(1)


def test_files_agree() -> None:
    assert written("pyproject.toml", r'^version = "(.*)"') == __version__
    assert written("cpp_ops/include/haste/haste.h", r'#define HASTE_VERSION "(.*)"') == __version__
    assert written("haste_export/version.py", r'__version__ = "(.*)"') == __version__


def test_library_agrees(library: str) -> None:
    assert native.version(library) == __version__
