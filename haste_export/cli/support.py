"""What the commands share: errors as exit codes, the --json option."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from haste_export.cli.interrupt import Interruptible, is_interrupt
from haste_export.errors import HasteError, OutputError

Function = TypeVar("Function", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"]}


class GateError(HasteError):
    """A check that the user asked for failed."""

    exit_code = 1


class _TellingCommand(click.Command):
    """A command that tells errors."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where it can be said what went wrong
        except HasteError as error:
            if is_interrupt(error):
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of a pipe has seen enough: click ends quietly
                raise
            place = f" ({error.filename})" if error.filename else ""
            click.echo(f"Error: {error.strerror or error}{place}", err=True)
            _drop_output()
            ctx.exit(OutputError.exit_code)
        return result


class HasteCommand(Interruptible, _TellingCommand):
    """A command whose HasteError ends the program with one sentence on stderr and the error's exit code.

    What the operating system refuses, like a table that goes to a full disk, ends it in the same way, with 2.
    """


def _drop_output() -> None:
    """Keep Python from writing once more at its end what could not be written, which would end it with 120."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_console() -> Console:
    """Make a console for tables; into a file or a pipe it writes lines of 120 characters, not 80."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def json_option(function: Function) -> Function:
    """Add --json FILE to a command, passed as `json_file`."""
    option = click.option("--json", "json_file", metavar="FILE", help="Write the result as JSON as well; - for stdout.")
    return option(function)


def write_json(result: Any, target: str | None) -> None:
    """Write a result where --json says; nothing when it was not given.

    Raises:
        OutputError: the file can not be written.
    """
    if target is None:
        return
    if target == "-":
        click.echo(json.dumps(result, indent=2))
        return
    from haste_export import io  # imported here, so that --help answers at once

    io.write_json(result, Path(target))
