"""Reads ONNX files as protobuf messages; what goes wrong is one sentence."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from haste_export.errors import UnreadableModelError


def read_proto(path: Path) -> onnx.ModelProto:
    """Read an ONNX file without its external data.

    Raises:
        UnreadableModelError: it is not there, cannot be read, is no ONNX model, or is cut off.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableModelError(f"cannot read {path}: {error.strerror or error}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise UnreadableModelError(f"{path} is not an ONNX model, or is truncated") from error
    if not model.HasField("graph") or model.ir_version <= 0:
        raise UnreadableModelError(f"{path} is not an ONNX model: it has no graph")
    return model


def read_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file that has something to run, without its external data.

    Raises:
        UnreadableModelError: as for `read_proto`, or the graph is empty.
    """
    model = read_proto(path)
    if not model.graph.node:
        raise UnreadableModelError(f"{path} has nothing to run: its graph is empty")
    return model
