"""What the environment of a command says about the op library."""

from __future__ import annotations

import os

from haste_export.errors import MissingDependencyError
from runtime_ops import LibraryNotFoundError, library_path, native


def check_isa() -> None:
    """Find out before any work that the op library will refuse what HASTE_ISA asks for; no library, nothing to check.

    Raises:
        MissingDependencyError: it names an instruction set that this library or this processor does not have, or the
            library does not load.
    """
    wanted = os.environ.get("HASTE_ISA")
    if not wanted:
        return
    try:
        available = native.available_isas(library_path())
    except LibraryNotFoundError:
        return
    except OSError as error:
        raise MissingDependencyError(f"the op library does not load: {error}") from error
    if wanted not in available:
        raise MissingDependencyError(
            f"HASTE_ISA={wanted} is not compiled in or not supported here; set it to one of {', '.join(available)}"
        )
