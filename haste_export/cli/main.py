"""`haste`: one group, whose sub-commands are imported when they are called, so that `haste --help` answers at once."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

from haste_export.cli.interrupt import Interruptible
from haste_export.interrupts import held_back

# Sub-command -> what it does. Its module is haste_export.cli.<name>, its click command is called `command` there.
COMMANDS = {
    "export": "Rewrite the convolutions of a model (the same as haste-export).",
    "inspect": "Show what would be rewritten and why not, shapes and FLOPs.",
    "bench": "Time a model against another, or against itself without the library.",
    "eval": "Compare the accuracy of a compressed model with that of its original.",
    "tune": "Choose the compression of every layer.",
    "report": "Write one page about a compressed model.",
    "membus": "Measure the memory traffic of an inference.",
    "doctor": "Check that compressed models run natively on this machine.",
}


class LazyGroup(Interruptible, click.Group):
    """A group that knows the names of its commands and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands that this installation has, in the order of the table."""
        return [name for name in COMMANDS if find_spec(_module(name)) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None for a name that there is not."""
        if cmd_name not in self.list_commands(ctx):
            return None
        with held_back():  # libraries take an import that is cut off for a module that they can do without
            command: click.Command = import_module(_module(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


def _module(name: str) -> str:
    return f"haste_export.cli.{name}"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="haste-export", prog_name="haste")
def command() -> None:
    """Look at, measure and tune compressed models.

    Exit codes: 0 done; 1 a check or a gate failed; 2 usage or unreadable input; 3 the environment lacks something; 130
    interrupted.
    """


if __name__ == "__main__":
    command()
