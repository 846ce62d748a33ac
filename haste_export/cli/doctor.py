"""`haste doctor`: whether compressed models run natively on this machine, and if not, what to do."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.table import Table
from rich.text import Text

from haste_export.bench.machine import machine
from haste_export.cli.support import CONTEXT, HasteCommand, json_option, make_console, write_json
from haste_export.errors import MissingDependencyError
from runtime_ops import Check, doctor

HELP = """Check that compressed models run natively on this machine.

Looks for the op library, loads it, registers it in ONNX Runtime, runs a tiny model with it, and says what to do about
whatever fails. On a device without this compiler, `python -m runtime_ops` makes the same checks.

Exit code 0 when all is well, 3 when a check failed.

\b
Examples:
  haste doctor
  haste doctor --json -
"""

STYLES = {"ok": "green", "note": "yellow", "failed": "bold red", "skipped": "dim"}


@click.command(cls=HasteCommand, help=HELP, context_settings=CONTEXT)
@json_option
def command(json_file: str | None) -> None:
    """Run the checks."""
    checks = doctor()
    if json_file != "-":
        print_checks(checks)
    write_json({"machine": machine(), "checks": [check.as_dict() for check in checks]}, json_file)
    failed = [check.name for check in checks if check.status == "failed"]
    if failed:
        raise MissingDependencyError(f"compressed models do not run natively here: {', '.join(failed)}")


def print_checks(checks: Sequence[Check]) -> None:
    """Print one row per check, a remedy under its finding."""
    about = machine()
    table = Table(title=f"{about['processor']}, {about['cores']} cores", show_header=False)
    for check in checks:
        finding = Text(check.detail)
        if check.remedy:
            finding.append(f"\n-> {check.remedy}", style="bold")
        table.add_row(Text(check.status, style=STYLES[check.status]), check.name, finding)
    make_console().print(table)
