"""The photographs that come with scikit-learn and scikit-image, and crops of them: real input without a download."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

Pixels = npt.NDArray[np.uint8]


def photographs() -> dict[str, Pixels]:
    """Five photographs, uint8 [H,W,3], by name."""
    china, flower = load_sample_images().images
    return {
        "china": china,
        "flower": flower,
        "astronaut": data.astronaut(),
        "cat": data.chelsea(),
        "coffee": data.coffee(),
    }


def crops(pixels: Pixels) -> Iterator[Pixels]:
    """The photograph and its four quarters."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    yield pixels
    for top in (0, height):
        for left in (0, width):
            yield pixels[top : top + height, left : left + width]


def as_input(pixels: Pixels, height: int, width: int) -> npt.NDArray[Any]:
    """Float32 [1,height,width,3] in 0..1."""
    resized = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)[None] / 255
