"""What the commands can tell about their output files before they do any work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from haste_export.replace import real_path, same_file

PathLike = Path | str


def check_outputs(written: Iterable[PathLike | None], read: Iterable[PathLike | None]) -> None:
    """Refuse files that can not be written, that are inputs, or that are named twice.

    Args:
        written: the files that a command writes; None and "-" (stdout) are nothing to check.
        read: its inputs; what is no file, like the entry point that --data takes, is nothing to check.

    Raises:
        click.UsageError: one of them is a directory, lies where nothing can be written, or would be overwritten.
    """
    outputs = [Path(path) for path in written if path is not None and str(path) != "-"]
    inputs = [Path(path) for path in read if path is not None and Path(path).exists()]
    for place, output in enumerate(outputs):
        _check_writable(output)
        if any(same_file(output, path) for path in inputs):
            raise click.UsageError(f"{output} would be overwritten, and it is an input; choose another output name")
        if any(same_file(output, other) for other in outputs[:place]) and _is_replaced(output):
            raise click.UsageError(f"{output} is named for two different outputs")


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise click.UsageError(f"cannot write {path}: it is a directory")
    folder = real_path(path).parent
    if not folder.is_dir():
        raise click.UsageError(f"cannot write {path}: there is no directory {path.parent}")
    # A file is replaced by a new one, which is made beside it; a device is written to.
    needed = [folder] if not path.exists() else [folder, path] if path.is_file() else [path]
    if not all(os.access(place, os.W_OK) for place in needed):
        raise click.UsageError(f"cannot write {path}: permission denied")


def _is_replaced(path: Path) -> bool:
    """Whether it is, or will be, a file; a device such as /dev/null takes any number of outputs."""
    return path.is_file() or not path.exists()
