"""The networks: CIFAR variants of ResNet and VGG for 28×28 grey images, and the small sample network.

``width`` is the number of channels of the first stage (64 in the papers); narrower ones are named so in every table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

CLASSES = 10


def conv_bn(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution without bias that keeps the size (divided by ``stride``), then batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2015, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(inputs, outputs, stride), nn.ReLU(), conv_bn(outputs, outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else conv_bn(inputs, outputs, stride, kernel=1)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, M, H / stride, W / stride]."""
        result: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result


class SpatialMean(nn.Module):
    """[N, C, H, W] to [N, C]. One ReduceMean in ONNX, where a pooling and a flattening become fifteen nodes."""

    def forward(self, x: Tensor) -> Tensor:
        """Mean over both spatial axes."""
        return x.mean((2, 3))


def _head(channels: int) -> list[nn.Module]:
    return [SpatialMean(), nn.Linear(channels, CLASSES)]


def resnet(depths: Sequence[int], width: int = 64) -> nn.Sequential:
    """ResNet of basic blocks with a 3×3 stem and no pooling before the stages."""
    layers: list[nn.Module] = [conv_bn(1, width), nn.ReLU()]
    channels = width
    for stage, depth in enumerate(depths):
        for index in range(depth):
            outputs = width << stage
            layers.append(BasicBlock(channels, outputs, stride=2 if stage and not index else 1))
            channels = outputs
    return nn.Sequential(*layers, *_head(channels))


def vgg16_bn(width: int = 64) -> nn.Sequential:
    """VGG-16 with batch norm; the classifier is one linear layer, the last pooling the global one."""
    layers: list[nn.Module] = []
    channels = 1
    for stage, (multiple, depth) in enumerate([(1, 2), (2, 2), (4, 3), (8, 3), (8, 3)]):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            layers += [conv_bn(channels, width * multiple), nn.ReLU()]
            channels = width * multiple
    return nn.Sequential(*layers, *_head(channels))


def sample() -> nn.Sequential:
    """The packaged sample: 1.9 MB, seven 3×3 convolutions, two residual blocks.

    The second pooling leaves 6×6 pixels, which the patches of 3×3 cover without waste.
    """
    return nn.Sequential(
        conv_bn(1, 32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        conv_bn(32, 64),
        nn.ReLU(),
        BasicBlock(64, 64),
        nn.MaxPool2d(3, 2),
        conv_bn(64, 128),
        nn.ReLU(),
        BasicBlock(128, 128),
        *_head(128),
    )


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "resnet18": lambda: resnet([2, 2, 2, 2]),
    "resnet34": lambda: resnet([3, 4, 6, 3]),
    "vgg16-bn": vgg16_bn,
    "resnet34-w16": lambda: resnet([3, 4, 6, 3], width=16),
    "resnet34-w32": lambda: resnet([3, 4, 6, 3], width=32),
    "vgg16-bn-w32": lambda: vgg16_bn(width=32),
    "sample": sample,
}
