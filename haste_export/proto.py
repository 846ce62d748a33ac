"""Reads ONNX files as protobuf messages, and these as onnx_ir models; what goes wrong is one sentence."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from haste_export.contract import DOMAIN
from haste_export.errors import UnreadableModelError, UnsupportedModelError, first_cause
from haste_export.validity import check_validity


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


def is_compressed(proto: onnx.ModelProto) -> bool:
    """Whether the model uses our operators, in its graph or in a branch or loop."""
    return any(opset.domain == DOMAIN for opset in proto.opset_import)


def to_ir(proto: onnx.ModelProto, name: str) -> ir.Model:
    """The model as onnx_ir has it; its tensors are views of `proto`.

    Raises:
        UnreadableModelError: it breaks the rules of ONNX. `name` is what the sentence calls it.
        UnsupportedModelError: it has what onnx_ir does not know: maps, sparse tensors.
    """
    check_validity(proto, name)
    try:
        return ir.from_proto(proto)
    except Exception as error:
        if maps := [value.name for value in (*proto.graph.input, *proto.graph.output) if _is_map(value.type)]:
            raise UnsupportedModelError(
                f"{name} cannot be compressed with '{maps[0]}', which is a map; cut it off (ZipMap makes such outputs)"
            ) from error
        root = first_cause(error)
        cause = " ".join(str(root).split())
        if isinstance(root, NotImplementedError):
            raise UnsupportedModelError(f"{name} cannot be compressed: {cause.partition('. ')[0]}") from error
        raise UnreadableModelError(f"{name} is not a valid ONNX model: {cause}") from error


def _is_map(kind: onnx.TypeProto) -> bool:
    """Whether a value is a map, or a sequence of maps."""
    return kind.HasField("map_type") or (kind.HasField("sequence_type") and _is_map(kind.sequence_type.elem_type))
