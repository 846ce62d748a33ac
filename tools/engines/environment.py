"""The benchmark's own virtual environment: every engine from pinned wheels, apart from the development environment.

Standard library only, because it runs before the environment exists.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / ".venv-engines"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
OLDEST_PYTHON = (3, 11)


class EnvironmentFailedError(Exception):
    """The environment cannot be made; the message says why."""


def python() -> Path:
    """Return the interpreter of the environment, which need not exist yet."""
    return DIRECTORY / "bin" / "python"


def ensure() -> Path:
    """Create the environment, or bring it up to date when requirements.txt has changed.

    Returns:
        Its interpreter.

    Raises:
        EnvironmentFailedError: this Python is too old, or the packages cannot be installed.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise EnvironmentFailedError("the pinned engines need Python {}.{} or newer".format(*OLDEST_PYTHON))
    stamp = DIRECTORY / ".stamp"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python()
    print(
        f"installing the engines of {REQUIREMENTS.relative_to(ROOT)} in {DIRECTORY.name} (1.4 GB, once)",
        file=sys.stderr,
    )
    venv.create(DIRECTORY, with_pip=True)
    install = [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*install, "--requirement", str(REQUIREMENTS)], stdout=sys.stderr, check=False)
    if done.returncode:
        raise EnvironmentFailedError(
            f"pip could not install {REQUIREMENTS.relative_to(ROOT)} (its own words are above)"
        )
    stamp.write_text(wanted)
    return python()


def enter(script: str) -> None:
    """Go on inside the environment: start `script` again with its interpreter, unless this is it already.

    Ends the program with 3 and a sentence when the environment cannot be made.
    """
    try:
        interpreter = ensure()
    except EnvironmentFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(3) from None
    if Path(sys.prefix).resolve() != DIRECTORY.resolve():
        os.execv(interpreter, [str(interpreter), script, *sys.argv[1:]])
