"""Reads models for evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from haste_export.compiler import compress_ir
from haste_export.contract import DOMAIN
from haste_export.errors import UnreadableModelError, UnsupportedModelError
from haste_export.options import Options

_LARGEST = 2**31 - 1


def load_whole(path: Path) -> onnx.ModelProto:
    """A model with its external data, in memory.

    Raises:
        UnreadableModelError: it is not there, cannot be read, is no ONNX model, or is larger than 2 GB.
    """
    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise UnreadableModelError(f"cannot read {path}: {error.strerror or error}") from error
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise UnreadableModelError(f"{path} is not an ONNX model, or is cut off") from error
    if not model.graph.node:
        raise UnreadableModelError(f"{path} is not an ONNX model, or its graph is empty")
    if model.ByteSize() > _LARGEST:
        raise UnreadableModelError(f"{path} is larger than 2 GB, which evaluation in memory can not handle")
    return model


def is_compressed(model: onnx.ModelProto) -> bool:
    """Whether the model has our operators."""
    return any(node.domain == DOMAIN for node in model.graph.node)


def compressed_with(model: onnx.ModelProto, options: Options) -> onnx.ModelProto:
    """The compressed form of a model in memory: every layer that qualifies, whether it gains or not.

    Raises:
        UnsupportedModelError: no layer of it can be rewritten.
    """
    result, report = compress_ir(ir.from_proto(model), replace(options, select="all"))
    if not report.rewritten:
        reasons = " ".join(layer.sentence for layer in report.layers) or "It has no Conv."
        raise UnsupportedModelError(f"nothing in the model can be compressed. {reasons}")
    return ir.to_proto(result)
