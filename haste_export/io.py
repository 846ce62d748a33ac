"""Reads and writes models. A write is atomic: until the new file is complete, the old one stays untouched."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from haste_export.errors import OutputError, UnreadableModelError
from haste_export.graph import sizes_of
from haste_export.report import Report

_PROTOBUF_LIMIT = 2**31 - 1
_SLACK_FOR_GRAPH = 2**26
_PAGE = 4096
"""Alignment of tensors in external data: they can be mapped, and packed weights used in place, which needs 64 bytes."""
_EXTERNAL_THRESHOLD = 1024


def default_target(source: Path) -> Path:
    """`model.haste.onnx` beside `model.onnx`."""
    stem = source.name[: -len(source.suffix)] if source.suffix == ".onnx" else source.name
    return source.with_name(f"{stem}.haste.onnx")


def report_path(target: Path) -> Path:
    """`model.haste.json` beside `model.haste.onnx`."""
    return target.with_suffix(".json") if target.suffix == ".onnx" else Path(f"{target}.json")


def load_model(path: Path) -> ir.Model:
    """Read a model; external data is mapped when it is needed, never copied as a whole.

    Raises UnreadableModelError if the file, or its external data, is missing or is not what it should be.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableModelError(f"cannot read {path}: {error.strerror or error}") from error
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise UnreadableModelError(f"{path} is not an ONNX model, or is truncated") from error
    if not proto.HasField("graph") or proto.ir_version <= 0:
        raise UnreadableModelError(f"{path} is not an ONNX model: it has no graph")
    try:
        model = ir.from_proto(proto)
    except Exception as error:
        raise UnreadableModelError(f"{path} is not a valid ONNX model: {error}") from error
    base = path.parent
    for graph in model.graphs():
        ir.external_data.set_base_dir(graph, base)
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                _check_external(value.const_value, path)
    return model


def save_model(model: ir.Model, target: Path, *, external_data: bool = False) -> None:
    """Write a model to `target`, and its weights to `target`.data if asked or if it is too large for one file.

    Raises OutputError if that fails; then what stood there is untouched. (Two files cannot change in one step: if the
    machine stops between the two renames, new weights stand beside the old model.)
    """
    tensors = {value: value.const_value for graph in model.graphs() for value in graph.initializers.values()}
    size = sum(tensor.nbytes for tensor in tensors.values() if tensor is not None)
    external_data = external_data or size > _PROTOBUF_LIMIT - _SLACK_FOR_GRAPH
    data_target = target.with_name(f"{target.name}.data")
    try:
        # The weights first: their rename comes first too, so a model never stands without its weights.
        with _replacements(*([data_target] if external_data else []), target) as files:
            if external_data:
                _externalise(tensors, files[0], data_target)
            else:
                _internalise(tensors)
            files[-1].write(ir.to_proto(model).SerializeToString())
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        for value, tensor in tensors.items():
            value.const_value = tensor


def write_report(report: Report, target: Path) -> Path:
    """Write the report beside the model at `target`; returns its path. Raises OutputError."""
    path = report_path(target)
    write_json(report.to_json(), path)
    return path


def write_json(document: object, path: Path) -> None:
    """Write a JSON file atomically. Raises OutputError."""
    try:
        with _replacements(path) as (file,):
            file.write((json.dumps(document, indent=2) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def _replacements(*targets: Path) -> Iterator[list[IO[bytes]]]:
    """New files that take the places of `targets` once all are safely on the disk, or vanish if the block fails."""
    real = [target.resolve() for target in targets]  # a link stays a link
    for place in real:
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    files: list[IO[bytes]] = []
    temporaries: list[Path] = []
    try:
        with contextlib.ExitStack() as stack:
            for place in real:
                # mkstemp, because its file is new and readable by nobody else until it is complete.
                handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent)
                temporaries.append(Path(name))
                files.append(stack.enter_context(os.fdopen(handle, "wb")))
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for temporary, place in zip(temporaries, real, strict=True):
            temporary.chmod(_mode_of(place))
            temporary.replace(place)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def _mode_of(path: Path) -> int:
    """Permissions of the file that is replaced, or those of any new file."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _externalise(tensors: dict[ir.Value, ir.TensorProtocol | None], file: IO[bytes], target: Path) -> None:
    """Write the large tensors to `file` and let the values refer to it; tensors shared by values are written once."""
    written: dict[int, ir.ExternalTensor] = {}
    for value, tensor in tensors.items():
        if tensor is None or tensor.nbytes < _EXTERNAL_THRESHOLD or tensor.dtype == ir.DataType.STRING:
            continue
        if id(tensor) not in written:
            file.write(bytes(-file.tell() % _PAGE))
            offset, data = file.tell(), tensor.tobytes()
            file.write(data)
            written[id(tensor)] = ir.ExternalTensor(
                location=target.name,
                offset=offset,
                length=len(data),
                dtype=tensor.dtype,
                shape=ir.Shape(sizes_of(tensor)),
                name=value.name or "",
                base_dir=target.parent,
            )
        value.const_value = written[id(tensor)]


def _internalise(tensors: dict[ir.Value, ir.TensorProtocol | None]) -> None:
    """Load external tensors, so that the result does not depend on the files of the original."""
    for value, tensor in tensors.items():
        if isinstance(tensor, ir.ExternalTensor):
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, shape=tensor.shape, name=value.name)


def _check_external(tensor: ir.ExternalTensor, model: Path) -> None:
    path = Path(tensor.path)
    end = (tensor.offset or 0) + (tensor.length or 0)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnreadableModelError(f"{model}: its external data {path.name} is missing") from error
    if size < end:
        raise UnreadableModelError(f"{model}: its external data {path.name} is truncated ({size} of {end} bytes)")
    try:
        tensor.numpy()  # maps the file and reads nothing yet
    except (OSError, ValueError) as error:
        raise UnreadableModelError(f"{model}: its external data {path.name} cannot be used: {error}") from error
