"""ONNX Runtime, int8: static quantisation in QDQ form, the way its documentation recommends for x86 with VNNI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from tools.engines.adapters.base import Job, Runner
from tools.engines.adapters.onnxruntime_f32 import open_session

PER_CHANNEL_OPSET = 13  # the first whose QuantizeLinear has an axis


class _Photographs(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, job: Job) -> None:
        self._feeds: Iterator[dict[str, Any]] = ({job.input_name: x} for x in np.load(job.calibration))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def _quantize(job: Job, target: Path) -> None:
    model = onnx.load(job.model)
    if model.opset_import[0].version < PER_CHANNEL_OPSET:
        model = version_converter.convert_version(model, PER_CHANNEL_OPSET)
    current, optimized = target.with_suffix(".opset.onnx"), target.with_suffix(".optimized.onnx")
    onnx.save(model, current)
    # Symbolic shape inference is for dynamic shapes; ours are static.
    quant_pre_process(str(current), str(optimized), skip_symbolic_shape=True)
    quantize_static(
        str(optimized),
        str(target),
        _Photographs(job),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


class _OnnxRuntimeInt8:
    def version(self) -> str:
        return f"onnxruntime {onnxruntime.__version__}"

    def prepare(self, job: Job) -> dict[str, Runner]:
        target = job.cache / "onnxruntime-int8.onnx"
        if not target.exists():
            _quantize(job, target)
        return {"ONNX Runtime int8": open_session(target, job)}


def engine(_option: str) -> _OnnxRuntimeInt8:
    """Return the adapter."""
    return _OnnxRuntimeInt8()
