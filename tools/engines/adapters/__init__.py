"""One file per engine, all with the same interface (see base.Engine)."""

from __future__ import annotations

import importlib

from tools.engines.adapters.base import Engine, Job, NotAvailableError, Outputs, Runner

BASELINE = "onnxruntime-f32"

# name -> (module, option): one worker process each. The order is that of the table.
_MODULES = {
    BASELINE: ("onnxruntime_f32", ""),
    "onnxruntime-int8": ("onnxruntime_int8", ""),
    "openvino-f32": ("openvino_cpu", "f32"),
    "openvino-bf16": ("openvino_cpu", "bf16"),
    "mnn-high": ("mnn", "high"),
    "mnn-normal": ("mnn", "normal"),
    "ncnn-f32": ("ncnn_cpu", ""),
    "tvm-untuned": ("tvm_untuned", ""),
    "haste": ("haste", ""),
}
NAMES = tuple(_MODULES)


def load(name: str) -> Engine:
    """Import the adapter of one engine and make it.

    Args:
        name: one of NAMES, or `module:option` of an adapter kept elsewhere.

    Raises:
        ImportError: the engine's package is missing or broken.
    """
    if name in _MODULES:
        module, option = _MODULES[name]
        module = f"{__name__}.{module}"
    else:
        module, _, option = name.partition(":")
    factory = importlib.import_module(module).engine
    engine: Engine = factory(option)
    return engine


__all__ = ["BASELINE", "NAMES", "Engine", "Job", "NotAvailableError", "Outputs", "Runner", "load"]
