"""`HasteConv2d` in the place of `torch.nn.Conv2d`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from haste_export.contract import CONV, DOMAIN, MAX_HYPERPLANES, NCHW, OIHW, OPSET_VERSION, PATCH
from haste_export.hyperplanes import draw_hyperplanes
from haste_export.patches import AUTO, Patch, checked, patch_of
from haste_export.torch.functional import Pads, haste_conv2d


class HasteConv2d(nn.Module):
    """A stride-1 convolution that merges redundant channels, with the weights of the one it replaces.

    Attributes:
        weight: [M, C, kH, kW].
        bias: [M], or None.
        hyperplanes: int8 buffer [Lmax, Q].
        count: L in use, from 1 to Lmax; 0 is the plain convolution. May be changed at any time.
        patch: p.
        tau: error bound of the merges `scaled` and `norm`; 0 is none.
    """

    hyperplanes: Tensor
    no_bias: Tensor

    def __init__(
        self,
        conv: nn.Conv2d,
        hyperplanes: Tensor,
        count: int,
        *,
        patch: int = PATCH,
        merge: str = "scaled",
        tau: float = 0.0,
    ) -> None:
        """Take over the parameters of `conv`. Raises ValueError, with the reason, when it cannot be replaced."""
        super().__init__()
        if reason := refusal(conv):
            raise ValueError(f"this convolution cannot be replaced: {reason}")
        self.weight, self.bias = conv.weight, conv.bias
        self.register_buffer("hyperplanes", hyperplanes.to(conv.weight.device, torch.int8))
        self.register_buffer("no_bias", torch.zeros(conv.out_channels), persistent=False)
        self.count, self.patch, self.merge, self.tau = count, patch, merge, tau
        self.pads = _pads(conv)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, M, H', W']; during torch.onnx.export a HasteConv node of the exported model."""
        if torch.onnx.is_in_onnx_export():
            return self._node(x)
        options: dict[str, Any] = {"pads": self.pads, "patch": self.patch, "merge": self.merge, "tau": self.tau}
        return haste_conv2d(x, self.weight, self.bias, self.hyperplanes, self.count, **options)

    def extra_repr(self) -> str:
        """What `print` shows."""
        outputs, channels, *kernel = self.weight.shape
        return (
            f"{channels}, {outputs}, kernel_size={tuple(kernel)}, L={self.count}, patch={self.patch}, "
            f"merge={self.merge!r}, tau={self.tau}"
        )

    def _node(self, x: Tensor) -> Tensor:
        top, left, bottom, right = self.pads
        outputs, _, kernel_h, kernel_w = self.weight.shape
        out = (x.shape[0], outputs, x.shape[2] + top + bottom - kernel_h + 1, x.shape[3] + left + right - kernel_w + 1)
        attributes: dict[str, int | float | str | bool | Sequence[int]] = {
            "kernel_shape": [kernel_h, kernel_w],
            "pads": list(self.pads),
            "strides": [1, 1],
            "dilations": [1, 1],
            "group": 1,
            "patch": self.patch,
            "merge": self.merge,
            "w_layout": OIHW,
            "x_layout": NCHW,
            "y_layout": NCHW,
        }
        bias = self.no_bias if self.bias is None else self.bias
        inputs: list[Tensor | None] = [x, self.weight, bias, self.hyperplanes, torch.tensor(self.count)]
        if self.tau > 0:
            inputs += [torch.tensor(0.0), torch.tensor(self.tau)]
        result: Tensor = torch.onnx.ops.symbolic(
            f"{DOMAIN}::{CONV}", inputs, attributes, dtype=x.dtype, shape=out, version=OPSET_VERSION
        )
        return result


def compress(
    module: nn.Module,
    hyperplanes: int = 14,
    *,
    max_hyperplanes: int = MAX_HYPERPLANES,
    sparsity: float = 0.5,
    merge: str = "scaled",
    patch: Patch = AUTO,
    tau: float = 0.0,
    seed: int = 0,
    skip_first: int = 1,
) -> nn.Module:
    """A copy of a network in which every eligible `nn.Conv2d` is a `HasteConv2d`; the original is not changed.

    Eligible is what the exporter takes by default: stride, dilation and groups 1, zero padding, float32, and not among
    the first `skip_first` convolutions. Hyperplanes are drawn from `seed` and the module's name. The patch "auto" is
    that of layers whose output size is not known: 7 for 3x3 kernels, 3 for others. Raises OptionError for a patch that
    there is not.
    """
    checked(patch)
    if isinstance(module, nn.Conv2d):
        raise ValueError("a lone convolution has no place to be swapped in: wrap it with HasteConv2d")
    result = copy.deepcopy(module)
    convs = [(name, conv) for name, conv in result.named_modules() if isinstance(conv, nn.Conv2d)]
    for name, conv in convs[skip_first:]:
        if refusal(conv):
            continue
        kernel_h, kernel_w = (int(side) for side in conv.kernel_size)
        own = patch_of(patch, (kernel_h, kernel_w), None, None)
        window = (own + kernel_h - 1) * (own + kernel_w - 1)
        planes = draw_hyperplanes(name, max_hyperplanes, window, sparsity=sparsity, seed=seed)
        swapped = HasteConv2d(conv, torch.from_numpy(planes), hyperplanes, patch=own, merge=merge, tau=tau)
        swapped.train(conv.training)
        parent, _, child = name.rpartition(".")
        setattr(result.get_submodule(parent), child, swapped)
    return result


def layers(module: nn.Module) -> Iterator[tuple[str, HasteConv2d]]:
    """The compressed convolutions of a network, with their names."""
    return ((name, part) for name, part in module.named_modules() if isinstance(part, HasteConv2d))


def set_hyperplanes(module: nn.Module, count: int) -> None:
    """Set L of all layers of a network."""
    for _, layer in layers(module):
        layer.count = count


def refusal(conv: nn.Conv2d) -> str | None:
    """Why a convolution must stay as it is, or None."""
    if any(value != 1 for value in conv.stride):
        return f"stride {tuple(conv.stride)}"
    if any(value != 1 for value in conv.dilation):
        return f"dilation {tuple(conv.dilation)}"
    if conv.groups != 1:
        return f"{conv.groups} groups"
    if conv.padding_mode != "zeros":
        return f"padding mode {conv.padding_mode!r}"
    if conv.weight.dtype != torch.float32:
        return f"weights of type {conv.weight.dtype}"
    return None


def _pads(conv: nn.Conv2d) -> Pads:
    if conv.padding == "valid":
        return 0, 0, 0, 0
    if conv.padding == "same":  # at stride 1; the odd pixel comes last, as in PyTorch
        total_h, total_w = (int(size) - 1 for size in conv.kernel_size)
        return total_h // 2, total_w // 2, total_h - total_h // 2, total_w - total_w // 2
    height, width = (int(size) for size in conv.padding)
    return height, width, height, width
