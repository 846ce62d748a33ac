"""Runs the side-by-side benchmark: `python tools/engines/run.py MODEL.onnx|vgg16|nsfw --threads 1,2 --out DIR`.

Any Python starts it; it creates the environment of the engines on first use and continues there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.engines import environment


def main() -> None:
    """Enter the environment of the engines, then hand over to the command line."""
    try:
        python = environment.ensure()
    except environment.EnvironmentFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(3) from None
    if Path(sys.prefix).resolve() != environment.DIRECTORY.resolve():
        os.execv(python, [str(python), __file__, *sys.argv[1:]])
    from tools.engines.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
