"""HASTE for PyTorch models: a convolution to plug in, and its way to ONNX. Needs the extra `torch`: 2.8 or newer.

import haste_export.torch

compressed = haste_export.torch.compress(network, hyperplanes=14)
haste_export.torch.export(compressed, (example,), "network.haste.onnx")
"""

from haste_export.torch.functional import haste_conv2d
from haste_export.torch.module import HasteConv2d, compress, layers, set_hyperplanes
from haste_export.torch.onnx import export

__all__ = ["HasteConv2d", "compress", "export", "haste_conv2d", "layers", "set_hyperplanes"]
