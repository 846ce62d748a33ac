"""What tests need that is built, not written."""

from __future__ import annotations

import pytest

from runtime_ops import LibraryNotFoundError, library_path


def require_library() -> str:
    """Path of the op library; skips the test, and says so, where it is not built."""
    try:
        return library_path()
    except LibraryNotFoundError as error:
        pytest.skip(str(error))
