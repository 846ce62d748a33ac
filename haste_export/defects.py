"""Tells a defect of ours from a model that breaks the rules of ONNX, where something failed that should not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from haste_export.errors import DefectError, HasteError, MissingDependencyError, UnreadableModelError, first_cause
from haste_export.proto import read_proto

_LOGGER = logging.getLogger(__name__)


@contextmanager
def blame(original: onnx.ModelProto | Path) -> Iterator[None]:
    """Let nothing but a HasteError out of what works on a model.

    ONNX's own check is asked only when something failed: it refuses much that works.

    Args:
        original: the model as it was given.

    Raises:
        UnreadableModelError: something failed, and the model is invalid; ONNX's reason is in the sentence.
        DefectError: something failed, and the model is valid.
        HasteError: as it came.
    """
    try:
        yield
    except Exception as error:
        told = explained(error, "compressing the model")
        if isinstance(told, DefectError) and (fault := fault_of(original)):
            raise UnreadableModelError(f"the model is not valid ONNX: {fault}") from error
        if told is error:
            raise
        raise told from told.__cause__


def explained(error: Exception, what: str) -> HasteError:
    """The HasteError that led to this one if there is one, else that `what` failed; -vv shows the traceback.

    It has its cause already, so it is raised from that.
    """
    cause = error if isinstance(error, HasteError) else first_cause(error)
    if isinstance(cause, HasteError):
        return cause
    _LOGGER.info("%s failed", what, exc_info=error)
    reason = " ".join(f"{type(cause).__name__}: {cause}".split())
    told: HasteError
    if isinstance(cause, MemoryError):
        told = MissingDependencyError(f"{what} failed, because there is not enough memory ({reason})")
    else:
        told = DefectError(
            f"{what} failed ({reason}). This is a defect of haste-export: please report it, with the traceback that "
            "`haste-export -vv` shows"
        )
    told.__cause__ = error
    return told


def fault_of(original: onnx.ModelProto | Path) -> str | None:
    """What ONNX finds wrong with a model, in one line; None if nothing is."""
    proto = read_proto(original) if isinstance(original, Path) else original
    try:
        for tensor in proto.graph.initializer:
            if not tensor.external_data:
                onnx.numpy_helper.to_array(tensor)
        onnx.checker.check_model(_without_what_may_be_missing(proto))
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except Exception as error:  # the check's errors share no base
        return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return None


def _without_what_may_be_missing(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that the check does not refuse for what runtimes take: outputs without a shape, data in other files."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    for value in (*graph.input, *graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    inside = [tensor for tensor in graph.initializer if not tensor.external_data]
    outside = [tensor for tensor in graph.initializer if tensor.external_data]
    known = {value.name for value in graph.input}
    del graph.initializer[:]
    graph.initializer.extend(inside)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in outside
        if tensor.name not in known
    )
    return copy
