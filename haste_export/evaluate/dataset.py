"""The data a model is judged on: a .npz file, a folder of images per class, or a function of the user's."""

from __future__ import annotations

import importlib
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from haste_export.bench.inputs import ModelInput, model_inputs
from haste_export.errors import HasteError, MissingDependencyError

Array = npt.NDArray[Any]
Metric = Callable[[list[Array], Array], Array]
"""From a model's outputs and a batch's labels to one score per sample, 1 for right and 0 for wrong."""

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class DataError(HasteError):
    """The data can not be read, or does not fit the model; the message says why."""


@dataclass(frozen=True)
class Batch:
    """Feeds by input name, all with n samples in their first dimension, and int64 labels [n] where there are any."""

    feeds: dict[str, Array]
    labels: Array | None

    def __len__(self) -> int:
        """Samples n in this batch."""
        return len(next(iter(self.feeds.values())))


@dataclass(frozen=True)
class Dataset:
    """Batches that can be gone through again and again.

    Attributes:
        name: what it is called in reports.
        batches: returns a fresh iterator over the batches.
        labelled: whether every batch has labels.
        metric: how a labelled batch is scored.
        metric_name: what that score is called.
    """

    name: str
    batches: Callable[[], Iterator[Batch]]
    labelled: bool
    metric: Metric
    metric_name: str = "top-1"

    def take(self, limit: int) -> Dataset:
        """The first `limit` samples, held in memory."""
        kept = list(_first(self.batches(), limit))
        return Dataset(self.name, lambda: iter(kept), self.labelled, self.metric, self.metric_name)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become inputs: divided by 255 where they are integers, then (x − mean) / std, per channel.

    None leaves it to the .npz file's own `mean` and `std`, or to 0 and 1.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def top1(outputs: list[Array], labels: Array) -> Array:
    """1 where the largest entry of the first output [n, classes] is the label's, else 0."""
    scores = outputs[0].reshape(len(labels), -1)
    right: Array = scores.argmax(axis=1) == labels
    return right.astype(np.float64)


def load_dataset(
    source: str, model: onnx.ModelProto, batch: int = 16, preprocessing: Preprocessing | None = None
) -> Dataset:
    """Open what `--data` names.

    Args:
        source: a .npz file with `images` (and `labels`), or with arrays named as the model's inputs (and `labels`);
            a directory with one sub-directory of images per class, in the alphabetical order of the classes (or with
            images alone: no labels); or `pkg.module:function`, which returns a pair (batches, metric), see
            docs/accuracy.md.
        model: the model, for the names and shapes of its inputs.
        batch: samples in a batch; a model with a fixed batch size decides itself.
        preprocessing: for .npz images and folders.

    Raises:
        DataError: it can not be read, or does not fit the model.
        MissingDependencyError: a folder of images was given, and Pillow is not installed.
    """
    inputs = model_inputs(model)
    if not inputs:
        raise DataError("the model has no input to feed")
    chosen = preprocessing or Preprocessing()
    path = Path(source)
    if path.is_dir():
        return _folder(path, _only(inputs), _batch_size(inputs, batch), chosen)
    if path.suffix == ".npz" or path.is_file():
        return _npz(path, inputs, _batch_size(inputs, batch), chosen)
    module, _, function = source.partition(":")
    if not (module and function):
        raise DataError(f"--data {source}: no such file or directory, and no entry point pkg.module:function")
    return _entry_point(source, module, function, inputs)


def _batch_size(inputs: Sequence[ModelInput], batch: int) -> int:
    fixed = {entry.shape[0] for entry in inputs if entry.shape and isinstance(entry.shape[0], int)}
    return fixed.pop() if len(fixed) == 1 else batch


def _only(inputs: Sequence[ModelInput]) -> ModelInput:
    if len(inputs) != 1:
        names = ", ".join(entry.name for entry in inputs)
        raise DataError(f"images feed one input, and the model has {len(inputs)} ({names}): name the arrays after them")
    return inputs[0]


def _npz(path: Path, inputs: Sequence[ModelInput], batch: int, preprocessing: Preprocessing) -> Dataset:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot read {path} as a .npz file: {error}") from error
    except (AttributeError, TypeError) as error:  # a .npy file is a bare array; which of the two depends on Python
        raise DataError(f"{path} holds one array; a .npz file with `images` and `labels` is wanted") from error
    if all(entry.name in arrays for entry in inputs):
        whole = {entry.name: arrays[entry.name].astype(entry.dtype, copy=False) for entry in inputs}
    elif "images" in arrays:
        own = Preprocessing(
            preprocessing.mean or _floats(arrays.get("mean")), preprocessing.std or _floats(arrays.get("std"))
        )
        entry = _only(inputs)
        whole = {entry.name: _prepare(arrays["images"], entry, own)}
    else:
        wanted = ", ".join(entry.name for entry in inputs)
        raise DataError(f"{path} has neither `images` nor {wanted}, but {', '.join(arrays) or 'nothing'}")
    labels = arrays["labels"].reshape(-1).astype(np.int64) if "labels" in arrays else None
    counts = {len(array) for array in (*whole.values(), *([] if labels is None else [labels]))}
    if len(counts) != 1 or 0 in counts:
        raise DataError(f"{path}: its arrays have {' and '.join(map(str, sorted(counts)))} samples")
    count = _whole_batches(counts.pop(), inputs, batch, path)

    def batches() -> Iterator[Batch]:
        for first in range(0, count, batch):
            part = slice(first, min(first + batch, count))
            feeds = {name: array[part] for name, array in whole.items()}
            yield Batch(feeds, None if labels is None else labels[part])

    return Dataset(path.name, batches, labels is not None, top1)


def _whole_batches(count: int, inputs: Sequence[ModelInput], batch: int, path: Path) -> int:
    """A model with a fixed batch size can not take what is left over at the end."""
    if not any(entry.shape and isinstance(entry.shape[0], int) for entry in inputs):
        return count
    if count < batch:
        raise DataError(f"{path} has {count} samples, and the model takes {batch} at a time")
    return count - count % batch


def _floats(array: Array | None) -> tuple[float, ...] | None:
    return None if array is None else tuple(float(value) for value in array.reshape(-1))


def _prepare(images: Array, entry: ModelInput, preprocessing: Preprocessing) -> Array:
    """Images [n, ...] as the input wants them: rank and order of the axes, type, scale."""
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or len(entry.shape) != 4:
        raise DataError(f"images {list(images.shape)} do not fit input '{entry.name}' {_text(entry)}")
    for axes in ((0, 1, 2, 3), (0, 3, 1, 2), (0, 2, 3, 1)):
        turned = images.transpose(axes)
        if _fits(turned.shape[1:], entry):
            break
    else:
        raise DataError(f"images {list(images.shape)} do not fit input '{entry.name}' {_text(entry)}")
    return _normalise(turned, _channel_axis(turned.shape), preprocessing).astype(entry.dtype)


def _fits(shape: Sequence[int], entry: ModelInput) -> bool:
    return all(not isinstance(dim, int) or dim == size for dim, size in zip(entry.shape[1:], shape, strict=True))


def _channel_axis(shape: Sequence[int]) -> int:
    return 3 if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else 1


def _normalise(images: Array, channel_axis: int, preprocessing: Preprocessing) -> Array:
    scaled = images.astype(np.float32)
    if np.issubdtype(images.dtype, np.integer):
        scaled = scaled / np.float32(255)
    for values, apply in ((preprocessing.mean, np.subtract), (preprocessing.std, np.divide)):
        if values is not None:
            channels = scaled.shape[channel_axis]
            if len(values) not in (1, channels):
                raise DataError(f"--mean and --std need 1 or {channels} numbers, not {len(values)}")
            shape = [len(values) if axis == channel_axis else 1 for axis in range(4)]
            scaled = apply(scaled, np.array(values, np.float32).reshape(shape))
    return scaled


def _text(entry: ModelInput) -> str:
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in entry.shape) + "]"


def _folder(path: Path, entry: ModelInput, batch: int, preprocessing: Preprocessing) -> Dataset:
    height, width, channels, first = _image_layout(entry)
    classes = sorted(child for child in path.iterdir() if child.is_dir())
    files = [(file, label) for label, directory in enumerate(classes) for file in _images_in(directory)]
    labelled = bool(files)
    if not labelled:
        files = [(file, -1) for file in _images_in(path)]
    if not files:
        raise DataError(f"{path} holds no images, nor directories with images")
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError("a folder of images needs Pillow: pip install 'haste-export[image]'") from error

    def decode(file: Path) -> Array:
        try:
            with Image.open(file) as image:
                converted = image.convert("L" if channels == 1 else "RGB").resize((width, height))
        except OSError as error:
            raise DataError(f"cannot read {file} as an image: {error}") from error
        return np.asarray(converted).reshape(height, width, channels)

    def batches() -> Iterator[Batch]:
        for group in _groups(files, batch):
            pixels = np.stack([decode(file) for file, _ in group])
            pixels = pixels.transpose(0, 3, 1, 2) if first else pixels
            inputs = _normalise(pixels, 1 if first else 3, preprocessing).astype(entry.dtype)
            yield Batch({entry.name: inputs}, np.array([label for _, label in group]) if labelled else None)

    return Dataset(path.name, batches, labelled, top1)


def _image_layout(entry: ModelInput) -> tuple[int, int, int, bool]:
    """(H, W, C, whether channels come first) of an image input; raises DataError for any other."""
    shape = entry.shape
    if len(shape) == 4:
        for channel_axis, first in ((1, True), (3, False)):
            channels = shape[channel_axis]
            height, width = shape[2:] if first else shape[1:3]
            if channels in (1, 3) and isinstance(height, int) and isinstance(width, int):
                assert isinstance(channels, int)
                return height, width, channels, first
    raise DataError(f"input '{entry.name}' {_text(entry)} is no image of 1 or 3 channels and fixed size")


def _images_in(directory: Path) -> list[Path]:
    return sorted(file for file in directory.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


def _groups(items: Sequence[tuple[Path, int]], size: int) -> Iterator[Sequence[tuple[Path, int]]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _entry_point(source: str, module: str, function: str, inputs: Sequence[ModelInput]) -> Dataset:
    if "" not in sys.path:
        sys.path.insert(0, "")  # a console script does not look in the current directory, and users' modules lie there
    try:
        entry = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise DataError(f"--data {source}: {error}") from error
    try:
        raw, metric = entry()
    except (TypeError, ValueError) as error:
        raise DataError(f"--data {source}: it must return a pair (batches, metric): {error}") from error
    again = raw if callable(raw) else _again(raw)
    sample = next(iter(again()), None)
    if sample is None:
        raise DataError(f"--data {source} yields no batch")
    labelled = _batch(sample, inputs, source).labels is not None

    def batches() -> Iterator[Batch]:
        return (_batch(item, inputs, source) for item in again())

    name = "top-1" if metric is None else getattr(metric, "__name__", "score")
    return Dataset(source, batches, labelled, top1 if metric is None else metric, name)


def _again(raw: Iterable[Any]) -> Callable[[], Iterable[Any]]:
    """An iterator can be used up only once; a list can be gone through again."""
    kept = raw if isinstance(raw, Sequence) else list(raw)
    return lambda: kept


def _batch(item: Any, inputs: Sequence[ModelInput], source: str) -> Batch:
    values, labels = item if isinstance(item, tuple) else (item, None)
    if not isinstance(values, dict):
        if len(inputs) != 1:
            raise DataError(f"--data {source}: the model has {len(inputs)} inputs, so its batches must be dicts")
        values = {inputs[0].name: values}
    feeds = {entry.name: np.ascontiguousarray(values[entry.name], entry.dtype) for entry in inputs}
    return Batch(feeds, None if labels is None else np.asarray(labels))


def _first(batches: Iterator[Batch], limit: int) -> Iterator[Batch]:
    left = limit
    for batch in islice(batches, limit):
        if left <= 0:
            return
        keep = min(left, len(batch))
        labels = None if batch.labels is None else batch.labels[:keep]
        yield Batch({name: array[:keep] for name, array in batch.feeds.items()}, labels)
        left -= keep
