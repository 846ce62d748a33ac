"""Ctrl-C: a command ends by the signal, as shells expect, and says so in one line."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

import click


class _Interrupted(BaseException):
    """Carries a KeyboardInterrupt past click, which would end with 1, the exit code of a failed gate."""


class Interruptible(click.Command):
    """A command that an interrupt ends, after everything that the command opened was closed.

    It ends as Python programs do that catch no KeyboardInterrupt, by SIGINT itself: a shell sees 130, and stops the
    script that it runs. A program that exits with 130 of its own accord does not have that effect.
    """

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program."""
        try:
            return super().main(*args, **extra)
        except _Interrupted:
            click.echo("\nInterrupted." if sys.stderr.isatty() else "Interrupted.", err=True)  # a terminal shows ^C
            sys.excepthook = _without_traceback
            raise KeyboardInterrupt from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            if is_interrupt(error):
                raise _Interrupted from None
            raise


def is_interrupt(error: BaseException) -> bool:
    """Whether it comes from a KeyboardInterrupt; a library that is being loaded makes an ImportError of it."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, KeyboardInterrupt):
        link = link.__cause__ or link.__context__
    return link is not None


def _without_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
