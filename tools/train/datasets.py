"""Fashion-MNIST as the Debian package ``dataset-fashion-mnist`` stores it: four gzip-compressed IDX files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DEFAULT_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
MEAN, STD = 0.2860, 0.3530
"""Mean and standard deviation of all training pixels / 255."""

_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def read_idx(path: Path) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes, gzip-compressed, as an array of the shape its header names.

    Raises ValueError when the file holds anything but unsigned bytes or is shorter than its header says.
    """
    with gzip.open(path, "rb") as stream:
        raw = stream.read()
    if raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4).astype(int)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    if values.size != shape.prod():
        raise ValueError(f"{path}: {values.size} bytes of data, the header promises {shape.prod()}")
    return values.reshape(shape)


def load_split(split: str, directory: Path = DEFAULT_DIRECTORY) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [n, 1, 28, 28] and labels [n] of "train" (60 000) or "test" (10 000)."""
    images, labels = (read_idx(directory / name) for name in _FILES[split])
    return images[:, None], labels.astype(np.int64)


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels as the networks here take them: (value / 255 − mean) / std."""
    values: NDArray[np.float32] = (images / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return values.astype(np.float32)
