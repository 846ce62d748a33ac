"""What the models are fed: photographs, photographed pages, tones; in the values that their packages make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.photographs import photographs

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

_BGR_MEANS = (104, 117, 123)
_SAMPLE_RATE = 22050  # hertz
_DECAY = 3.0  # per second
_NOTES = (220.0, 277.18, 329.63, 440.0)  # hertz: a chord, one note after the other
_PARTIALS = 6


def pages() -> list[Pixels]:
    """Two photographed pages of print, RGB."""
    from skimage import data

    return [np.repeat(np.asarray(grey, np.uint8)[:, :, None], 3, axis=2) for grey in (data.page(), data.text())]


def lines_of_text() -> list[Pixels]:
    """Words of the first page, from two lines."""
    page = pages()[0]
    return [page[10:36, 3:148], page[10:36, 148:295], page[46:66, 3:118]]


def tones(samples: int) -> npt.NDArray[np.float32]:
    """Decaying notes with their partials, one after the other, [samples] in -1..1: no package here brings music."""
    each = -(-samples // len(_NOTES))
    seconds = np.arange(each) / _SAMPLE_RATE
    notes = [
        sum(np.sin(2 * np.pi * note * (partial + 1) * seconds) / (partial + 1) for partial in range(_PARTIALS))
        * np.exp(-_DECAY * seconds)
        for note in _NOTES
    ]
    wave = np.concatenate(notes)[:samples]
    return np.asarray(wave / np.abs(wave).max(), np.float32)


PICTURES: dict[str, Callable[[], list[Pixels]]] = {
    "photograph": lambda: list(photographs().values()),
    "page": pages,
    "line of text": lines_of_text,
}
VALUES: dict[str, Callable[[Pixels], Array]] = {
    "unit": lambda pixels: pixels.astype(np.float32) / np.float32(255),
    "bytes": lambda pixels: pixels.astype(np.float32),
    "-1..1": lambda pixels: pixels.astype(np.float32) / np.float32(127.5) - 1,
    "bgr, mean removed": lambda pixels: pixels[..., ::-1].astype(np.float32) - np.array(_BGR_MEANS, np.float32),
    "uint8": lambda pixels: pixels,
}


def make_inputs(shape: tuple[int, ...], picture: str, values: str) -> list[Array]:
    """Inputs of a model: [1,C,H,W] or [1,H,W,C] with C of 1 or 3 from pictures, resized; [1,N,1] from tones."""
    if picture == "tones":
        return [tones(shape[1]).reshape(shape)]
    channels_first = shape[1] in (1, 3)
    height, width, channels = (shape[2], shape[3], shape[1]) if channels_first else shape[1:]
    arrays = []
    for pixels in PICTURES[picture]():
        image = Image.fromarray(np.ascontiguousarray(pixels)).convert("L" if channels == 1 else "RGB")
        resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.uint8)
        array = VALUES[values](resized.reshape(height, width, channels))[None]
        arrays.append(np.ascontiguousarray(array.transpose(0, 3, 1, 2) if channels_first else array))
    return arrays
