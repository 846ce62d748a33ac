"""What a HasteConv costs, the paper's way: appendix B.1, term by term, from the compression a layer really reached.

The paper writes square kernels and windows; here K^2 is kH*kW and q^2 is q_h*q_w. Every cost is in floating-point
operations (a multiply-add is two) for one image.

Letters: C input and M output channels, H x W *output* size, P_H and P_W what is added until p divides it,
n = (H+P_H)/p * (W+P_W)/p patches, L hyperplanes, s the share of zeros in them, r = 1 - C~/C the compression,
m the average number of buckets with more than one member.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from haste_export.contract import MERGES, PATCH


@dataclass(frozen=True)
class LayerShape:
    """Static sizes of one stride-1 convolution. `out_h` x `out_w` is the output, p the patch size."""

    in_channels: int
    out_channels: int
    out_h: int
    out_w: int
    kernel_h: int
    kernel_w: int
    patch: int = PATCH

    def __post_init__(self) -> None:
        """Raise ValueError for a size below one."""
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, and must be at least 1")

    @property
    def patches(self) -> int:
        """Patches n of one image."""
        return -(-self.out_h // self.patch) * -(-self.out_w // self.patch)

    @property
    def taps(self) -> int:
        """Taps of the kernel, K^2 in the paper."""
        return self.kernel_h * self.kernel_w

    @property
    def window(self) -> int:
        """Length q_h*q_w of a patch's window, q^2 in the paper."""
        return (self.patch + self.kernel_h - 1) * (self.patch + self.kernel_w - 1)


@dataclass(frozen=True)
class Compression:
    """What a run reached. r is the share of channels saved, m the average number of merged buckets in a patch."""

    r: float
    m: float

    def __post_init__(self) -> None:
        """Raise ValueError outside 0 <= r < 1 and m >= 0."""
        if not (0 <= self.r < 1 and self.m >= 0):
            raise ValueError(f"r = {self.r} must be in [0, 1) and m = {self.m} not negative")

    @classmethod
    def from_stats(cls, stats: Sequence[float]) -> Compression:
        """Read r and m from the operator's stats output [8] (docs/operator.md, Statistics).

        Raises ValueError when no patch was counted, which means that the fallback body ran and not a kernel.
        """
        patches, channels, buckets, merged = (float(value) for value in stats[:4])
        if patches <= 0 or channels <= 0:
            raise ValueError("the statistics count no patch: the native kernel did not run")
        return cls(r=1 - buckets / channels, m=merged / patches)


@dataclass(frozen=True)
class LayerCost:
    """Costs of one layer in FLOPs, for one image: what Conv costs, and the six terms of HasteConv.

    `coefficients` is zero for the `mean` merge of the paper.
    """

    regular: float
    centring: float
    hashing: float
    coefficients: float
    merge_inputs: float
    merge_filters: float
    reduced_convolution: float

    @property
    def haste(self) -> float:
        """Everything HasteConv does."""
        return self.overhead + self.reduced_convolution

    @property
    def overhead(self) -> float:
        """Everything HasteConv does beside convolving."""
        return self.centring + self.hashing + self.coefficients + self.merge_inputs + self.merge_filters

    @property
    def reduction(self) -> float:
        """Share of the FLOPs saved; negative if HasteConv costs more. Zero for an empty total."""
        return 1 - self.haste / self.regular if self.regular else 0.0


def regular_cost(shape: LayerShape) -> float:
    """FLOPs of the plain convolution: 2 H W K^2 C M."""
    return 2.0 * shape.out_h * shape.out_w * shape.taps * shape.in_channels * shape.out_channels


def plain_layer(shape: LayerShape) -> LayerCost:
    """Cost of a convolution that stays as it is, so that it counts in a model's total without a reduction."""
    regular = regular_cost(shape)
    return LayerCost(regular, 0, 0, 0, 0, 0, reduced_convolution=regular)


def layer_cost(
    shape: LayerShape, compression: Compression, hyperplanes: int, sparsity: float, merge: str = "scaled"
) -> LayerCost:
    """Cost of a HasteConv with L = `hyperplanes` of which a share `sparsity` of the entries is zero.

    L of 0 or less is the dense mode, which costs the plain convolution. `scaled` and `norm` pay for their
    multiplications: 4 n C q^2 for the coefficients (two dot products per channel and patch), and two operations
    instead of one per element of a merged filter. Raises ValueError for an unknown merge or a sparsity outside [0, 1].
    """
    if merge not in MERGES:
        raise ValueError(f"merge {merge!r} is none of {', '.join(MERGES)}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity {sparsity} is not in [0, 1]")
    if hyperplanes <= 0:
        return plain_layer(shape)
    n, channels, outputs, window = shape.patches, shape.in_channels, shape.out_channels, shape.window
    weighted = merge != "mean"
    merged_channels = channels * compression.r
    regular = regular_cost(shape)
    return LayerCost(
        regular=regular,
        centring=2.0 * n * channels * window,
        hashing=n * channels * hyperplanes * window * (1 - sparsity),
        coefficients=4.0 * n * channels * window if weighted else 0.0,
        merge_inputs=n * window * (merged_channels + compression.m),
        merge_filters=(2 if weighted else 1) * n * outputs * merged_channels * shape.taps,
        reduced_convolution=regular * (1 - compression.r),
    )


def model_cost(layers: Iterable[LayerCost]) -> LayerCost:
    """Sum layers, term by term."""
    rows = list(layers)
    names = [field.name for field in fields(LayerCost)]
    return LayerCost(**{name: sum(float(getattr(row, name)) for row in rows) for name in names})
