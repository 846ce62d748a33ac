"""The sample that ships with the package: a small CNN and labelled images of Fashion-MNIST, for demos, docs and tests.

The network has seven 3×3 convolutions and two residual blocks (tools/train made it). The images come in two splits that
share nothing: 1 000 for tuning, which the network never saw in training, and 1 000 test images for the final word.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 [n, 1, 28, 28] with classes int64 [n], 0 to 9, and what the network subtracts and divides by."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    mean: float
    std: float

    @property
    def inputs(self) -> NDArray[np.float32]:
        """The images as the network takes them: float32 [n, 1, 28, 28], (pixel / 255 − mean) / std."""
        pixels = self.images.astype(np.float32) / 255
        normalised: NDArray[np.float32] = (pixels - np.float32(self.mean)) / np.float32(self.std)
        return normalised


def sample_model() -> Path:
    """The sample network: input ``image`` float32 [batch, 1, 28, 28], output ``logits`` [batch, 10]."""
    return _HERE / "sample.onnx"


def sample_file(split: Literal["test", "tune"] = "test") -> Path:
    """The .npz file with the images of a split, as ``haste eval --data`` takes it."""
    return _HERE / f"sample_{split}.npz"


def sample_images(split: Literal["test", "tune"] = "test") -> LabelledImages:
    """The 1 000 labelled images of a split."""
    with np.load(sample_file(split)) as arrays:
        return LabelledImages(arrays["images"], arrays["labels"], float(arrays["mean"]), float(arrays["std"]))
