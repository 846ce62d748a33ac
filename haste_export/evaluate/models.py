"""Reads models for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir

from haste_export.compiler import compress_ir
from haste_export.contract import DOMAIN, LEVEL, STEERING_LEVEL, V
from haste_export.defects import blame
from haste_export.errors import OptionError, UnreadableModelError, UnsupportedModelError
from haste_export.evaluate.stats import haste_convs
from haste_export.options import Options
from haste_export.proto import read_model, to_ir

_LARGEST = 2**31 - 1


def load_whole(path: Path) -> onnx.ModelProto:
    """A model with its external data, in memory.

    Raises:
        UnreadableModelError: it is not there, cannot be read, is no ONNX model, or is larger than 2 GB; or its external
            data is not where it says.
    """
    model = read_model(path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise UnreadableModelError(f"{path}: its external data cannot be read: {error}") from error
    if model.ByteSize() > _LARGEST:
        raise UnreadableModelError(f"{path} is larger than 2 GB, which evaluation in memory can not handle")
    return model


def check_settings(compressed: onnx.ModelProto, settings: Sequence[int]) -> None:
    """Raise OptionError if the model has no such level, or fewer hyperplanes than asked for.

    And UnsupportedModelError if all its HasteConvs are inside branches or loops: nothing is told of those.
    """
    names = {value.name for value in compressed.graph.input}
    initializers = {tensor.name: tensor for tensor in compressed.graph.initializer}
    convs = list(haste_convs(compressed))
    if not convs:
        raise UnsupportedModelError(
            "all HasteConvs of the model are inside branches or loops, and only those outside are evaluated"
        )
    if STEERING_LEVEL in names:
        most, what = level_count(compressed), "levels 0 to"
    else:
        most, what = min(initializers[node.input[V]].dims[0] for node in convs), "hyperplanes up to L ="
    if wrong := [setting for setting in settings if setting > most]:
        raise OptionError(f"the model has {what} {most}, and not {wrong[0]}")


def level_count(compressed: onnx.ModelProto) -> int:
    """Levels of a model beside level 0, which is dense; 0 if it is not steered by levels."""
    tables = {node.input[1] for node in compressed.graph.node if (node.domain, node.op_type) == (DOMAIN, LEVEL)}
    rows = (int(tensor.dims[0]) for tensor in compressed.graph.initializer if tensor.name in tables)
    return min(rows, default=1) - 1


def compressed_with(model: onnx.ModelProto, options: Options) -> onnx.ModelProto:
    """The compressed form of a model in memory: every layer that qualifies, whether it gains or not.

    Raises:
        UnsupportedModelError: no layer of it can be rewritten.
        HasteError: as `haste_export.compress`.
    """
    with blame(model):
        result, report = compress_ir(to_ir(model, "the model"), replace(options, select="all"))
    if not report.rewritten:
        reasons = " ".join(layer.sentence for layer in report.layers) or "It has no Conv."
        raise UnsupportedModelError(f"nothing in the model can be compressed. {reasons}")
    return ir.to_proto(result)
