"""ONNX shape inference that leaves the model as it is where it fails."""

from __future__ import annotations

import logging

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

_LOGGER = logging.getLogger("onnx_ir.passes.common.shape_inference")


class InferShapes(ir.passes.InPlacePass):
    """Fills in the shapes of activations. Shapes are a help and no condition, so a failure is not an error."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Infer, without strictness and without the traceback that the underlying pass logs."""
        level = _LOGGER.level
        _LOGGER.setLevel(logging.ERROR)
        try:
            return ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        finally:
            _LOGGER.setLevel(level)
