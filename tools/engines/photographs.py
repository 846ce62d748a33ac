"""Real photographs as model inputs: those to measure with, and others to calibrate int8 with."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_sample_images

Array = npt.NDArray[np.float32]

# Files inside the scikit-image wheel. No scene is in both lists.
_MEASURED = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")
_CALIBRATION = (
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "camera.png",
    "retina.jpg",
    "brick.png",
    "grass.png",
    "gravel.png",
    "coins.png",
)
_VIEWS = (1.0, 0.5)  # share of the side that a centred crop keeps


def _skimage_data() -> Path:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("scikit-image is not installed")
    return Path(spec.origin).parent / "data"


def _unit(image: Image.Image, height: int, width: int) -> Array:
    pixels: Array = np.asarray(image.resize((width, height)), dtype=np.float32)
    scaled: Array = pixels / np.float32(255)
    return scaled


def _imagenet(image: Image.Image, height: int, width: int) -> Array:
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    return np.asarray((_unit(image, height, width) - mean) / std)


def _bgr_mean(image: Image.Image, height: int, width: int) -> Array:
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    return np.asarray(pixels[:, :, ::-1] - np.array([104, 117, 123], np.float32))


def _grey(image: Image.Image, height: int, width: int) -> Array:
    return _unit(image.convert("L"), height, width)[:, :, np.newaxis]


# name -> (image, height, width) -> float32 [height, width, channels]
PREPROCESS: dict[str, Callable[[Image.Image, int, int], Array]] = {
    "unit": _unit,
    "imagenet": _imagenet,
    "bgr-mean": _bgr_mean,
    "grey": _grey,
}


def measured(shape: tuple[int, ...], preprocess: str | None) -> Array:
    """Return the inputs to measure with: float32 [12, *shape], six photographs, each whole and its centre.

    Raises:
        ValueError: the shape is not that of one image.
    """
    scenes = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    scenes += [Image.open(_skimage_data() / name).convert("RGB") for name in _MEASURED]
    return _inputs(scenes, shape, preprocess)


def calibration(shape: tuple[int, ...], preprocess: str | None) -> Array:
    """Return the inputs to calibrate with: float32 [16, *shape], eight photographs, each whole and its centre.

    Raises:
        ValueError: the shape is not that of one image.
    """
    scenes = [Image.open(_skimage_data() / name).convert("RGB") for name in _CALIBRATION]
    return _inputs(scenes, shape, preprocess)


def _inputs(scenes: list[Image.Image], shape: tuple[int, ...], preprocess: str | None) -> Array:
    channels_last = len(shape) == 4 and shape[3] in (1, 3)
    if len(shape) != 4 or shape[0] != 1 or not (channels_last or shape[1] in (1, 3)):
        raise ValueError(f"{list(shape)} is not the shape of one image; give inputs of your own with --inputs")
    height, width, channels = shape[1:] if channels_last else (shape[2], shape[3], shape[1])
    convert = PREPROCESS[preprocess or ("imagenet" if channels == 3 else "grey")]
    images = [convert(_centre(scene, share), height, width) for share in _VIEWS for scene in scenes]
    if images[0].shape[2] != channels:
        raise ValueError(f"--preprocess {preprocess} gives {images[0].shape[2]} channels, the model takes {channels}")
    batch = np.stack(images)[:, np.newaxis]
    return np.ascontiguousarray(batch if channels_last else batch.transpose(0, 1, 4, 2, 3))


def _centre(scene: Image.Image, share: float) -> Image.Image:
    width, height = (round(side * share) for side in scene.size)
    left, top = (scene.width - width) // 2, (scene.height - height) // 2
    return scene.crop((left, top, left + width, top + height))
