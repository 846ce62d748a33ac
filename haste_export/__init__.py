"""Compresses trained CNNs for edge devices: rewrites the Conv nodes of an ONNX model into HasteConv.

    import haste_export

    haste_export.compress("model.onnx", hyperplanes=14)  # writes model.haste.onnx

The names below are imported when they are first used: the compiler takes half a second to load, which a process that
only times a model, or prints a help text, need not spend.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from haste_export.version import __version__

if TYPE_CHECKING:
    from haste_export.compiler import compress, compress_with_report
    from haste_export.errors import HasteError
    from haste_export.options import Options
    from haste_export.plan import LayerSetting, Plan
    from haste_export.report import LayerReport, Report

__all__ = [
    "HasteError",
    "LayerReport",
    "LayerSetting",
    "Options",
    "Plan",
    "Report",
    "__version__",
    "compress",
    "compress_with_report",
]

_HOMES = {
    "HasteError": "errors",
    "LayerReport": "report",
    "LayerSetting": "plan",
    "Options": "options",
    "Plan": "plan",
    "Report": "report",
    "compress": "compiler",
    "compress_with_report": "compiler",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'haste_export' has no attribute '{name}'")
    value = getattr(import_module(f"haste_export.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
