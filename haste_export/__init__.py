"""Compresses trained CNNs for edge devices: rewrites the Conv nodes of an ONNX model into HasteConv.

import haste_export

haste_export.compress("model.onnx", hyperplanes=14)  # writes model.haste.onnx
"""

from haste_export.compiler import compress, compress_with_report
from haste_export.errors import HasteError
from haste_export.options import Options
from haste_export.plan import LayerSetting, Plan
from haste_export.report import LayerReport, Report
from haste_export.version import __version__

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
