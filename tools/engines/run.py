"""Runs the side-by-side benchmark: `python tools/engines/run.py MODEL.onnx|vgg16|nsfw --threads 1,2 --out DIR`.

Any Python starts it; it creates the environment of the engines on first use and continues there.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.engines import environment

if __name__ == "__main__":
    environment.enter(__file__)
    from tools.engines.cli import main

    main()
