"""Reads and writes models. A write is atomic: until the new file is complete, the old one stays untouched."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import onnx_ir as ir
from google.protobuf.message import EncodeError

from haste_export.errors import OptionError, OutputError, UnreadableModelError
from haste_export.graph import every_node, sizes_of
from haste_export.proto import read_proto, to_ir
from haste_export.replace import real_path, replacements, same_file
from haste_export.report import Report

_PROTOBUF_LIMIT = 2**31 - 1
_SLACK_FOR_GRAPH = 2**26
_PAGE = 4096
"""Alignment of tensors in external data: they can be mapped, and packed weights used in place, which needs 64 bytes."""
_EXTERNAL_THRESHOLD = 1024
_REPORT_KEYS = frozenset({"schema", "version", "summary", "layers"})
"""What every report has; a JSON file without them is somebody else's."""


def default_target(source: Path) -> Path:
    """`model.haste.onnx` beside `model.onnx`."""
    stem = source.name[: -len(source.suffix)] if source.suffix == ".onnx" else source.name
    return source.with_name(f"{stem}.haste.onnx")


def report_path(target: Path) -> Path:
    """`model.haste.json` beside `model.haste.onnx`."""
    return target.with_suffix(".json") if target.suffix == ".onnx" else Path(f"{target}.json")


def data_path(target: Path) -> Path:
    """`model.onnx.data` beside the file that `model.onnx` is or links to, because readers look beside that file."""
    real = real_path(target)
    return real.with_name(f"{real.name}.data")


def load_model(path: Path) -> ir.Model:
    """Read a model; weights in external data are mapped when they are needed, never copied as a whole.

    Raises UnreadableModelError if the file, or its external data, is missing or is not what it should be, and
    UnsupportedModelError as `to_ir`.
    """
    model = to_ir(read_proto(path), str(path))
    for tensor in external_tensors(model):
        if "\0" in str(tensor.location):
            raise UnreadableModelError(f"{path}: its external data {tensor.location!r} is no file name")
        _locate(tensor, path)
        _check_external(tensor, path)
    # Attributes are not addressed by name as initializers are, so nothing later would know to write them elsewhere.
    for node, attribute in _tensor_attributes(model):
        if isinstance(attribute.value, ir.ExternalTensor):
            node.attributes[attribute.name] = ir.AttrTensor(attribute.name, _internal(attribute.value))
        elif attribute.type == ir.AttributeType.TENSORS:
            tensors = [_internal(t) if isinstance(t, ir.ExternalTensor) else t for t in attribute.as_tensors()]
            node.attributes[attribute.name] = ir.AttrTensors(attribute.name, tensors)
    return model


def external_tensors(model: ir.Model) -> list[ir.ExternalTensor]:
    """Tensors that live in other files: initializers and attributes, of subgraphs and local functions too."""
    found: list[object] = [value.const_value for graph in model.graphs() for value in graph.initializers.values()]
    for _, attribute in _tensor_attributes(model):
        found += attribute.as_tensors() if attribute.type == ir.AttributeType.TENSORS else [attribute.value]
    return [tensor for tensor in found if isinstance(tensor, ir.ExternalTensor)]


def refuse_overwriting(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise OptionError if a file that will be written is one that is read."""
    inputs = list(inputs)
    for output in outputs:
        for read in inputs:
            if same_file(output, read):
                raise OptionError(f"{output} would be overwritten, and it is an input; choose another output name")


def check_result_files(target: Path, source: Path, model: ir.Model, *, external_data: bool) -> None:
    """Raise OptionError if compressing `source` to `target` would destroy a file that is not the result's own.

    The target may be the source, whose weights may then be replaced as well.

    Args:
        target: where the model goes; the report and the weights go beside it.
        source: where `model` was read.
        model: the original.
        external_data: whether the weights go to a file of their own.
    """
    in_place, report = same_file(target, source), report_path(target)
    weights = {Path(tensor.path) for tensor in external_tensors(model)}
    written = [data_path(target)] if external_data or _size(model) > _PROTOBUF_LIMIT - _SLACK_FOR_GRAPH else []
    refuse_overwriting([report], [source, target, *weights])
    refuse_overwriting([target], weights)
    refuse_overwriting(written, [source, report, *([] if in_place else weights)])
    if report.is_file() and not _is_report(report):
        raise OptionError(
            f"{report} would be overwritten by the report, and it is no report of haste-export; "
            "choose another output name, which names the report too (--json writes a further copy)"
        )


def save_model(model: ir.Model, target: Path, *, external_data: bool = False, report: Report | None = None) -> None:
    """Write a model to `target`, its weights to `target`.data if asked or if it is too large for one file.

    The report goes beside it in the same step: all files are replaced, or none.

    Raises OutputError if that fails; then what stood there is untouched. (Several files cannot change in one step: if
    the machine stops between the renames, new weights stand beside the old model.)
    """
    tensors = {value: value.const_value for graph in model.graphs() for value in graph.initializers.values()}
    external_data = external_data or _size(model) > _PROTOBUF_LIMIT - _SLACK_FOR_GRAPH
    data_target = data_path(target)
    # The model comes last: it never stands without its weights.
    places = [*([data_target] if external_data else []), *([report_path(target)] if report else []), target]
    try:
        with replacements(*places) as files:
            if external_data:
                _externalise(tensors, files[0], data_target)
            else:
                _internalise(tensors)
            if report is not None:
                files[-2].write(_json(report.to_json()))
            files[-1].write(ir.to_proto(model).SerializeToString())
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or target}: {error.strerror or error}") from error
    except (EncodeError, ValueError) as error:
        raise OutputError(f"cannot write {target}: it does not fit into an ONNX file ({error})") from error
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
    _write(_json(document), path)


def write_text(text: str, path: Path) -> None:
    """Write a text file, UTF-8, atomically. Raises OutputError."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise OutputError(f"cannot write {path}: a name in it is no Unicode text ({error.reason})") from error
    _write(data, path)


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()


def _write(data: bytes, path: Path) -> None:
    try:
        with replacements(path) as (file,):
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _is_report(path: Path) -> bool:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.keys() >= _REPORT_KEYS


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
            value.const_value = _internal(tensor)


def _internal(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    """The tensor as one that goes into the model's file."""
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)


def _size(model: ir.Model) -> int:
    """Bytes of the model's constants."""
    constants = [value.const_value for graph in model.graphs() for value in graph.initializers.values()]
    for _, attribute in _tensor_attributes(model):
        constants += attribute.as_tensors() if attribute.type == ir.AttributeType.TENSORS else [attribute.as_tensor()]
    return sum(tensor.nbytes for tensor in constants if tensor is not None)


def _tensor_attributes(model: ir.Model) -> list[tuple[ir.Node, ir.Attr]]:
    """Attributes that hold tensors, with their nodes, of subgraphs and local functions too."""
    kinds = (ir.AttributeType.TENSOR, ir.AttributeType.TENSORS)
    return [
        (node, attribute)
        for node in every_node(model)
        for attribute in node.attributes.values()
        if attribute.type in kinds and not attribute.is_ref()
    ]


def _locate(tensor: ir.ExternalTensor, model: Path) -> None:
    """Let the tensor's place count from the model's folder; behind a link, from that of the file if it is there."""
    tensor.base_dir = model.parent
    if not Path(tensor.path).exists() and (Path(real_path(model).parent) / tensor.location).exists():
        tensor.base_dir = real_path(model).parent


def _check_external(tensor: ir.ExternalTensor, model: Path) -> None:
    path = Path(tensor.path)
    end = (tensor.offset or 0) + (tensor.length or 0)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnreadableModelError(f"{model}: its external data {path.name} is missing") from error
    if path.is_dir():
        raise UnreadableModelError(f"{model}: its external data {path.name} is a directory")
    if size < end:
        raise UnreadableModelError(f"{model}: its external data {path.name} is truncated ({size} of {end} bytes)")
    try:
        tensor.numpy()  # maps the file and reads nothing yet
    except (OSError, ValueError) as error:
        raise UnreadableModelError(f"{model}: its external data {path.name} cannot be used: {error}") from error
