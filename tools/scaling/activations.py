"""Inputs of the layer: real activations of a pre-trained VGG16 on photographs.

How much ours has to compute depends on how alike the channels are, so random inputs would be misleading. For C channels
the layer gets the first C channels of the widest-spaced VGG16 activation that has at least C, cropped at its centre, or
continued by reflection where the layer is larger. Every image of a batch is another photograph.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from tools.engines import photographs
from tools.engines.models import prepare
from tools.scaling.layer import Layer

Array = npt.NDArray[np.float32]


class Activations:
    """The inputs of a VGG16's 3×3 convolutions, for as many photographs as a batch can have images."""

    def __init__(self, images: int) -> None:
        """Run the network.

        Raises:
            ModelError: the network's package is not installed.
        """
        with tempfile.TemporaryDirectory() as folder:
            model = prepare("vgg16", Path(folder))
            proto = onnx.load(model.path)
        names = list(dict.fromkeys(node.input[0] for node in proto.graph.node if node.op_type == "Conv"))[1:]
        proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        inputs = photographs.measured(model.input_shape, model.preprocess)[:images]
        runs = [session.run(names, {model.input_name: x}) for x in inputs]
        self._maps: list[Array] = [np.concatenate(maps) for maps in zip(*runs, strict=True)]

    def input_of(self, layer: Layer) -> Array:
        """Return float32 [N, C, H, W] for a layer.

        Raises:
            ValueError: VGG16 has no activation with so many channels, or there are too few photographs.
        """
        wide = [found for found in self._maps if found.shape[1] >= layer.channels]
        if not wide or layer.batch > len(wide[0]):
            raise ValueError(f"no activation with {layer.channels} channels for {layer.batch} images")
        source = min(wide, key=lambda found: (found.shape[1], -found.shape[2]))
        return np.ascontiguousarray(fit(source[: layer.batch, : layer.channels], layer.side))


def fit(x: Array, side: int) -> Array:
    """Return the centre [N, C, side, side] of a square map, or the map continued by reflection to that size."""
    start = max(0, (x.shape[2] - side) // 2)
    x = x[:, :, start : start + side, start : start + side]
    missing = side - x.shape[2]
    return np.pad(x, ((0, 0), (0, 0), (0, missing), (0, missing)), mode="symmetric") if missing else x
