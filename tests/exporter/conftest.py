"""Fixtures of the exporter's tests."""

from __future__ import annotations

import pytest

import runtime_ops


@pytest.fixture(scope="session")
def has_library() -> bool:
    """Whether the op library is built; tests then run with it as well as without."""
    try:
        runtime_ops.library_path()
    except runtime_ops.LibraryNotFoundError:
        return False
    return True
