"""The group: lists its commands, loads one only when it is called."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from haste_export.cli.main import COMMANDS, LazyGroup, command

from .conftest import haste

LISTED = command.list_commands(click.Context(command)) if isinstance(command, LazyGroup) else []


def test_help_lists_the_commands() -> None:
    result = haste("--help")
    assert result.exit_code == 0
    for name in ("export", "inspect", "bench", "doctor"):
        assert name in LISTED
        assert f"  {name} " in result.output
        assert COMMANDS[name][:30] in result.output


def test_help_imports_no_command() -> None:
    script = (
        "import sys\nfrom haste_export.cli.main import command\n"
        "command(['--help'], standalone_mode=False)\n"
        "from haste_export.cli.main import COMMANDS\n"
        "print([name for name in COMMANDS if f'haste_export.cli.{name}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", LISTED)
def test_every_command_has_help(name: str) -> None:
    for flag in ("--help", "-h"):
        result = haste(name, flag)
        assert result.exit_code == 0
        assert "Usage:" in result.output


@pytest.mark.parametrize("name", LISTED)
def test_an_unknown_flag_is_a_usage_error(name: str) -> None:
    assert haste(name, "--no-such-flag").exit_code == 2


def test_an_unknown_command_is_a_usage_error() -> None:
    assert haste("frobnicate").exit_code == 2


def test_version() -> None:
    from haste_export.version import __version__

    assert haste("--version").output.strip().endswith(__version__)
