"""Names and limits of the operator contract (docs/operator.md), shared by everything that writes or reads a model."""

from __future__ import annotations

from typing import Final, Literal, get_args

DOMAIN: Final = "ai.haste"
OPSET_VERSION: Final = 1
CONV: Final = "HasteConv"
MAX_POOL: Final = "HasteMaxPool"
AVERAGE_POOL: Final = "HasteAveragePool"
REORDER: Final = "HasteReorder"
LEVEL: Final = "HasteLevel"

BLOCK: Final = 16
"""Channels per block of the blocked layout and of packed weights."""
MAX_HYPERPLANES: Final = 32
STATS_LENGTH: Final = 8
Merge = Literal["scaled", "mean", "norm"]
MERGES: Final[tuple[Merge, ...]] = get_args(Merge)
"""Values of the attribute `merge`; the first is the default."""
PATCH: Final = 3
"""Value of the attribute `patch` where a node has none."""
MAX_KERNEL: Final = 64
"""Largest side of a kernel; this and the limits below are those of the kernels (docs/operator.md, Limits)."""
MAX_IN_CHANNELS: Final = 65535
MAX_OUT_CHANNELS: Final = 2**24
MAX_PAD: Final = 2**20

NCHW: Final = "NCHW"
BLOCKED: Final = "blocked"
OIHW: Final = "OIHW"
PACKED: Final = "packed"

STEERING_HYPERPLANES: Final = "haste_hyperplanes"
STEERING_LEVEL: Final = "haste_level"
STEERING_TAU: Final = "haste_tau"
STATS_PREFIX: Final = "haste_stats/"

MIN_OPSET: Final = 7
FUNCTION_IR_VERSION: Final = 8
"""First IR version with model-local functions; ONNX Runtime 1.17 loads up to 9."""

# Positions of HasteConv's inputs.
X, W, B, V, L, Z, T, A = range(8)
