"""Replaces files atomically: until all new ones are complete, the old ones stay untouched."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO


def real_path(path: Path) -> Path:
    """The file behind links; unlike Path.resolve, this takes links that go in circles as they are."""
    return Path(os.path.realpath(path))


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths are one file, or would be if it existed."""
    if real_path(a) == real_path(b):
        return True
    try:
        return a.samefile(b)  # another link, or another spelling where the file system ignores case
    except OSError:
        return False


@contextlib.contextmanager
def replacements(*targets: Path) -> Iterator[list[IO[bytes]]]:
    """New files that take the places of `targets` once all are safely on the disk, or vanish if the block fails.

    A device or a pipe cannot be replaced: it is written to.
    """
    for target in targets:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    files: list[IO[bytes]] = []
    temporaries: list[Path] = []
    renames: list[tuple[Path, Path]] = []
    try:
        with contextlib.ExitStack() as stack:
            for target in targets:
                if target.exists() and not target.is_file():
                    files.append(stack.enter_context(target.open("wb")))
                    continue
                place = real_path(target)  # a link stays a link
                # mkstemp, because its file is new and readable by nobody else until it is complete.
                try:
                    handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent)
                except OSError as error:
                    raise OSError(error.errno, error.strerror, str(target)) from error
                temporaries.append(Path(name))
                renames.append((temporaries[-1], place))
                files.append(stack.enter_context(os.fdopen(handle, "wb")))
            yield files
            for file in files:
                file.flush()
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    continue
                os.fsync(file.fileno())
        _rename_all(renames)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def _rename_all(renames: Sequence[tuple[Path, Path]]) -> None:
    """Rename each new file to its place; if one fails, or an interrupt comes between, put back what stood there."""
    begun: list[tuple[Path, Path, Path | None]] = []
    backups: list[Path] = []
    try:
        for index, (new, place) in enumerate(renames):
            new.chmod(_mode_of(place))
            old = None
            if index < len(renames) - 1 and place.exists():
                old = new.with_suffix(".old")
                backups.append(old)
                _keep(place, old)
            begun.append((new, place, old))
            new.replace(place)
    except BaseException:
        # The files tell how far it came; an interrupt may have come after a rename as well as before it.
        whole = len(begun) == len(renames) and not begun[-1][0].exists()
        for new, place, old in () if whole else reversed(begun):
            with contextlib.suppress(OSError):
                if new.exists():
                    continue
                if old is None:
                    place.unlink()
                else:
                    old.replace(place)
        raise
    finally:
        for backup in backups:
            backup.unlink(missing_ok=True)


def _keep(place: Path, backup: Path) -> None:
    """A second name for a file; a copy, where the file system has no hard links."""
    try:
        backup.hardlink_to(place)
    except OSError:
        shutil.copy2(place, backup)


def _mode_of(path: Path) -> int:
    """Permissions of the file that is replaced, or those of any new file."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
