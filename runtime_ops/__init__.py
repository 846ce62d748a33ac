"""Runs compressed models on a device: finds, registers and steers the HasteConv library.

Needs NumPy and ONNX Runtime and imports nothing else, so it can be copied to a device beside `libhaste_ops.so`.

    import runtime_ops

    session = runtime_ops.Session("model.haste.onnx")
    session.hyperplanes = 14
    scores, = session.run({"x": image})
"""

from runtime_ops.budget import LatencyBudget
from runtime_ops.doctor import Check, doctor
from runtime_ops.library import LibraryNotFoundError, library_path, register
from runtime_ops.native import available_isas, isa, run_count
from runtime_ops.session import ProviderError, Session
from runtime_ops.version import __version__

__all__ = [
    "Check",
    "LatencyBudget",
    "LibraryNotFoundError",
    "ProviderError",
    "Session",
    "__version__",
    "available_isas",
    "doctor",
    "isa",
    "library_path",
    "register",
    "run_count",
]
