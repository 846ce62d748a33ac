"""python -m runtime_ops.selftest LIBRARY: run a tiny model natively. doctor() calls it in a process of its own."""

from __future__ import annotations

import sys

import numpy as np

from runtime_ops.probe import PROBE_MODEL, X_SHAPE
from runtime_ops.session import Session


def selftest(library: str) -> str:
    """Register the library, run the probe compressed and dense, and return the finding as a sentence.

    Raises:
        RuntimeError: the kernels did not run, or dense mode differs from ONNX Runtime's Conv. Whatever ONNX Runtime
            raises when it does not take the library passes through.
    """
    x = np.arange(np.prod(X_SHAPE), dtype=np.float32).reshape(X_SHAPE) % 7 - 3
    session = Session(PROBE_MODEL, library=library)
    stats = session.run(x)[1]
    if not session.native or stats[0] == 0:
        raise RuntimeError("the model ran through its fallback body; the kernels were passed over")
    session.hyperplanes = 0
    dense = session.run(x)[0]
    exact = Session(PROBE_MODEL, library=False).run(x)[0]
    # The probe's values are small integers, but a kernel may transform them: allow the rounding of a few operations.
    scale = float(np.abs(exact).max())
    worst = float(np.abs(dense - exact).max())
    if not worst <= 64 * np.finfo(np.float32).eps * scale:
        raise RuntimeError(f"dense mode is off by {worst:.3g}, with values up to {scale:.3g}")
    return "registered, ran natively, dense mode equals Conv, steering works"


if __name__ == "__main__":
    sys.stdout.write(selftest(sys.argv[1]) + "\n")
