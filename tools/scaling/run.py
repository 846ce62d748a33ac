"""Measures how cost grows: `python tools/scaling/run.py --out DIR`.

Uses the environment of the side-by-side benchmark.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.engines import environment

if __name__ == "__main__":
    environment.enter(__file__)
    from tools.scaling.cli import main

    main()
