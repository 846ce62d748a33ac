"""PNG images as data URIs, from arrays, with nothing but zlib."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

# Dark blue over green to yellow: brightness rises evenly, so that it reads in grey too.
_STOPS = np.array([(32, 28, 70), (45, 80, 130), (36, 132, 137), (75, 178, 110), (170, 214, 70), (252, 231, 80)], float)


def colour_map(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Values [H, W] as colours [H, W, 3]: `low` is dark, `high` bright, what lies beyond is cut."""
    span = high - low if high > low else 1.0
    place = np.clip((np.nan_to_num(values) - low) / span, 0, 1) * (len(_STOPS) - 1)
    base = np.minimum(place.astype(int), len(_STOPS) - 2)
    share = (place - base)[..., None]
    return np.asarray(np.rint(_STOPS[base] * (1 - share) + _STOPS[base + 1] * share), np.uint8)


def label_colours(labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Labels [H, W] as colours [H, W, 3], neighbours in number far apart in hue; -1 is light grey."""
    hue = np.mod(labels * 0.6180339887, 1.0)[..., None] * 6
    channels = np.clip(np.abs(np.mod(hue + np.array([0.0, 4.0, 2.0]), 6) - 3) - 1, 0, 1)
    colours = 70 + 160 * channels
    return np.asarray(np.where(labels[..., None] < 0, 235, colours), np.uint8)


def data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """RGB pixels [H, W, 3] as a data URI for an <img>."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * 3)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
