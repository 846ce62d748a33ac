"""python -m runtime_ops [--json]: check this machine. Exit code 0 when compressed models run natively, else 3."""

from __future__ import annotations

import json
import sys

from runtime_ops.doctor import Check, doctor

USAGE = "usage: python -m runtime_ops [--json]"


def main(arguments: list[str]) -> int:
    """Print the checks, as lines or as JSON."""
    if arguments not in ([], ["--json"]):
        print(USAGE, file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    checks = doctor()
    if arguments:
        print(json.dumps([check.as_dict() for check in checks], indent=2))
    else:
        for check in checks:
            print(_line(check))
    return 3 if any(check.status == "failed" for check in checks) else 0


def _line(check: Check) -> str:
    text = f"{check.status:8} {check.name}: {check.detail}"
    return f"{text}\n         -> {check.remedy}" if check.remedy else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
