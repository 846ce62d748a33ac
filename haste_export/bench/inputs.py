"""What a model is fed while it is timed: shapes from the model or the user, values from a file or a generator."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from haste_export.errors import MissingDependencyError, OptionError
from runtime_ops.session import HYPERPLANES_INPUT, LEVEL_INPUT

STEERING_INPUTS = (HYPERPLANES_INPUT, LEVEL_INPUT)

Feeds = dict[str, npt.NDArray[Any]]
Dimension = int | str | None


class InputValueError(OptionError):
    """The model cannot be fed with what the user gave; the message says why."""


@dataclass(frozen=True)
class ModelInput:
    """One input of a model; a dimension is a number, the name of a symbol, or None.

    With `open_rank` the model does not say how many dimensions there are, and `shape` is empty.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[Dimension, ...]
    open_rank: bool = False


def model_inputs(model: onnx.ModelProto) -> list[ModelInput]:
    """Inputs that must be fed: no initializers, no steering.

    Raises:
        InputValueError: one of them is no tensor.
    """
    defaults = {tensor.name for tensor in model.graph.initializer}
    return [
        _model_input(value)
        for value in model.graph.input
        if value.name not in defaults and value.name not in STEERING_INPUTS
    ]


def input_names(model: onnx.ModelProto) -> list[str]:
    """Names of the inputs that must be fed, tensors or not."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    fed = [value.name for value in model.graph.input if value.name not in defaults]
    return [name for name in fed if name not in STEERING_INPUTS]


def parse_shapes(texts: Sequence[str], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read --input-shape options: NAME:1,3,224,224, or 1,3,224,224 alone for a model with one input.

    Raises:
        InputValueError: a text does not read so, names an input that the model does not have, or one is named twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, colon, numbers = text.rpartition(":")
        if not colon and len(names) != 1:
            raise InputValueError(f"{text!r} names no input; the model has {', '.join(names)}")
        name = name if colon else names[0]
        if name not in names:
            raise InputValueError(f"the model has no input {name!r}, but {', '.join(names)}")
        if name in shapes:
            raise InputValueError(f"'{name}' is named twice")
        try:
            shapes[name] = tuple(int(number) for number in numbers.split(","))
        except ValueError:
            raise InputValueError(f"{text!r} is not of the form NAME:1,3,224,224") from None
    return shapes


def resolve_shape(entry: ModelInput, given: Mapping[str, tuple[int, ...]], batch: int | None) -> tuple[int, ...]:
    """Shape to feed: the user's where given, else the model's with the batch size in an open first dimension.

    Raises:
        InputValueError: the user's shape contradicts the model's, or a dimension stays open.
    """
    shape = given.get(entry.name)
    if shape is None and entry.open_rank:
        raise InputValueError(f"input {entry.name!r} has no shape: give --input-shape {entry.name}:1,3,224,224 or such")
    if shape is None:
        first = (batch or 1) if entry.shape and not isinstance(entry.shape[0], int) else None
        opened = entry.shape if first is None else (first, *entry.shape[1:])
        unknown = [dim if isinstance(dim, str) else "?" for dim in opened if not isinstance(dim, int)]
        if unknown:
            wanted = ",".join("?" if dim is None else str(dim) for dim in opened)
            raise InputValueError(
                f"input {entry.name!r} has open dimensions ({', '.join(unknown)}): "
                f"give --input-shape {entry.name}:{wanted} with numbers"
            )
        shape = tuple(dim for dim in opened if isinstance(dim, int))
    _check_against_model(entry, shape)
    if batch is not None and shape and shape[0] != batch:
        raise InputValueError(f"input {entry.name!r} has a fixed batch of {shape[0]}, --batch {batch} does not fit")
    return shape


def random_feeds(inputs: Sequence[ModelInput], shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> Feeds:
    """Standard normal values for floating-point inputs, zeros for the rest."""
    rng = np.random.default_rng(seed)
    feeds: Feeds = {}
    for entry in inputs:
        shape = shapes[entry.name]
        if np.issubdtype(entry.dtype, np.floating):
            feeds[entry.name] = rng.standard_normal(shape).astype(entry.dtype)
        else:
            feeds[entry.name] = np.zeros(shape, entry.dtype)
    return feeds


def array_feeds(path: Path, inputs: Sequence[ModelInput]) -> Feeds:
    """Values from a .npy file (for a model with one input) or a .npz file (arrays named as the inputs).

    Raises:
        InputValueError: the file cannot be read, lacks an input, or an array has another rank or size than the input.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputValueError(f"cannot read {path} as a .npy or .npz file: {error}") from error
    if isinstance(loaded, np.ndarray):
        if len(inputs) != 1:
            raise InputValueError(f"{path} holds one array, but the model has {len(inputs)} inputs: use a .npz file")
        arrays = {inputs[0].name: loaded}
    missing = [entry.name for entry in inputs if entry.name not in arrays]
    if missing:
        raise InputValueError(f"{path} has no array for {', '.join(missing)}")
    for entry in inputs:
        _check_against_model(entry, arrays[entry.name].shape)
    return {entry.name: np.ascontiguousarray(arrays[entry.name], entry.dtype) for entry in inputs}


def image_feeds(path: Path, inputs: Sequence[ModelInput], shapes: Mapping[str, tuple[int, ...]]) -> Feeds:
    """One photograph, resized to the model's input and scaled to 0..1, repeated over the batch.

    The input must be one tensor [N,C,H,W] or [N,H,W,C] with C of 1 or 3.

    Raises:
        InputValueError: the file is no image, or the input is none.
        MissingDependencyError: Pillow is not installed.
    """
    if len(inputs) != 1:
        raise InputValueError(f"--image feeds one input, the model has {len(inputs)}")
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError("--image needs Pillow: pip install 'haste-export[image]'") from None
    entry = inputs[0]
    batch, height, width, channels, first = _image_layout(entry.name, shapes[entry.name])
    try:
        with Image.open(path) as image:
            converted = image.convert("L" if channels == 1 else "RGB").resize((width, height))
    except OSError as error:
        raise InputValueError(f"cannot read {path} as an image: {error}") from error
    pixels = np.asarray(converted, np.float32).reshape(height, width, channels) / 255
    if first:
        pixels = pixels.transpose(2, 0, 1)
    return {entry.name: np.ascontiguousarray(np.stack([pixels] * batch), entry.dtype)}


def _image_layout(name: str, shape: tuple[int, ...]) -> tuple[int, int, int, int, bool]:
    """(N, H, W, C, whether channels come first)."""
    if len(shape) == 4 and shape[1] in (1, 3):
        return shape[0], shape[2], shape[3], shape[1], True
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape[0], shape[1], shape[2], shape[3], False
    raise InputValueError(f"input {name!r} has shape {list(shape)}, which is no image of 1 or 3 channels")


def _model_input(value: onnx.ValueInfoProto) -> ModelInput:
    if not value.type.HasField("tensor_type"):
        raise InputValueError(f"input {value.name!r} is no tensor, and only tensors can be fed")
    tensor = value.type.tensor_type
    # Some exporters write -1 for a size that is open.
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else (dim.dim_param or None)
        for dim in tensor.shape.dim
    )
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return ModelInput(value.name, dtype, dims, open_rank=not tensor.HasField("shape"))


def _check_against_model(entry: ModelInput, shape: tuple[int, ...]) -> None:
    if entry.open_rank:
        return
    fits = len(shape) == len(entry.shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(entry.shape, shape, strict=True)
    )
    if not fits:
        wanted = [dim if dim is not None else "?" for dim in entry.shape]
        raise InputValueError(f"input {entry.name!r} has shape {wanted}, {list(shape)} does not fit")
