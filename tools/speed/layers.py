"""Single convolutions to calibrate the cost model with: their models, inputs and times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import haste_export
import runtime_ops
from haste_export.contract import BLOCK, BLOCKED, CONV, NCHW, STEERING_HYPERPLANES
from haste_export.flops import LayerShape
from haste_export.instrument import instrument
from haste_export.speed.typical import Counts

HYPERPLANES = (0, 8, 14, 24)
PATCHES = (3, 4, 6, 7)  # of 3x3 kernels: every form of the kernel, with either tile and with both
OTHER_PATCHES = (3,)
_ALIKE = 0.5  # share of the channels that are copies of few, as in a trained network
_CHANNELS, _BUCKETS, _SKIPPED, _ZERO, _READ = 1, 2, 4, 5, 6  # positions in the operator's statistics
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """One measured HasteConv: its sizes, milliseconds, and the elements that it read or wrote in NCHW."""

    shape: LayerShape
    hyperplanes: int
    counts: Counts
    converted: int
    ms: float


@dataclass(frozen=True)
class Measured:
    """One layer: milliseconds of the Conv, the elements that stock reorders, and the HasteConvs."""

    shape: LayerShape
    stock_ms: float
    samples: tuple[Sample, ...]

    @property
    def tensors(self) -> int:
        """Elements of input and output."""
        return self.shape.out_h * self.shape.out_w * (self.shape.in_channels + self.shape.out_channels)


def read_shapes(path: Path) -> list[LayerShape]:
    """Layers of a text file, "C M H W kernel_h kernel_w" a line. Raises ValueError for another line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [LayerShape(*map(int, line.split())) for line in lines if line.strip() and not line.startswith("#")]


def measure(shape: LayerShape, seconds: float) -> Measured:
    """Time a layer, stock and ours in turns, on one thread; in NCHW at the first patch only.

    The least processor time counts: other programs take turns on the core and crowd the caches, which only adds.
    """
    stock, x = _model(shape), _input(shape)
    runs: list[tuple[Any, dict[str, Any]]] = [(session_of(stock), {"x": x})]
    kinds: list[tuple[LayerShape, int, Counts, int]] = []
    ends = [NCHW] if shape.in_channels % BLOCK and shape.out_channels % BLOCK else [NCHW, BLOCKED]
    patches = PATCHES if (shape.kernel_h, shape.kernel_w) == (3, 3) else OTHER_PATCHES
    for patch in patches:
        ours = haste_export.compress(stock, skip_first=0, layout="nchw", select="all", patch=patch)
        cut = replace(shape, patch=patch)
        counts = [_counts(ours, x, count) for count in HYPERPLANES]
        for end in ends if patch == patches[0] else ends[-1:]:
            session = session_of(_with_ends(ours, shape, end))
            fed = _blocked(x) if end == BLOCKED and shape.in_channels % BLOCK == 0 else x
            for place, count in enumerate(HYPERPLANES):
                runs.append((session, {"x": fed, STEERING_HYPERPLANES: np.array(count, np.int64)}))
                kinds.append((cut, count, counts[place], _converted(shape, end)))
    stock_ms, *times = _fastest(runs, seconds)
    return Measured(shape, stock_ms, tuple(Sample(*kind, ms) for kind, ms in zip(kinds, times, strict=True)))


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session of one thread with the op library."""
    return runtime_ops.Session(model.SerializeToString(), options=_options()).inference


def _converted(shape: LayerShape, end: str) -> int:
    pixels = shape.out_h * shape.out_w
    channels = (shape.in_channels, shape.out_channels)
    return sum(pixels * count for count in channels if end == NCHW or count % BLOCK)


def _fastest(runs: Sequence[tuple[Any, dict[str, Any]]], seconds: float) -> list[float]:
    best = [float("inf")] * len(runs)
    began, turns = time.monotonic(), 0
    while turns < 5 or (time.monotonic() - began < seconds and turns < 2000):
        for index, (session, feeds) in enumerate(runs):
            session.run(None, feeds)
            start = time.thread_time()
            session.run(None, feeds)
            best[index] = min(best[index], (time.thread_time() - start) * 1e3)
        turns += 1
    return best


def counts_of(stats: npt.NDArray[np.float32]) -> tuple[Counts, float]:
    """Counts of an operator's statistics, and the share of all-zero windows.

    Raises RuntimeError where no kernel ran.
    """
    channels, buckets, skipped, zero, read = (
        float(stats[place]) for place in (_CHANNELS, _BUCKETS, _SKIPPED, _ZERO, _READ)
    )
    if not channels:
        raise RuntimeError("the op library did not run")
    return Counts((buckets - skipped) / channels, read / channels), zero / channels


def _counts(model: onnx.ModelProto, x: Array, hyperplanes: int) -> Counts:
    feeds = {"x": x, STEERING_HYPERPLANES: np.array(hyperplanes, np.int64)}
    return counts_of(session_of(instrument(model)).run(None, feeds)[1])[0]


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def _model(shape: LayerShape) -> onnx.ModelProto:
    """Conv and Relu with random weights, static shapes, the output as large as the input."""
    random = np.random.default_rng(0)
    kernel = shape.kernel_h, shape.kernel_w
    weights = random.standard_normal((shape.out_channels, shape.in_channels, *kernel), dtype=np.float32)
    size = shape.out_h, shape.out_w
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[k // 2 for k in kernel] * 2),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, shape.in_channels, *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, shape.out_channels, *size])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(weights[:, 0, 0, 0].copy(), "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _with_ends(model: onnx.ModelProto, shape: LayerShape, layout: str) -> onnx.ModelProto:
    """The model with a HasteConv that takes and gives this layout, where the channels allow it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (node,) = (node for node in copy.graph.node if node.op_type == CONV)
    for attribute in node.attribute:
        if attribute.name == "x_layout" and shape.in_channels % BLOCK == 0:
            attribute.s = layout.encode()
        if attribute.name == "y_layout" and shape.out_channels % BLOCK == 0:
            attribute.s = layout.encode()
    return copy


def _input(shape: LayerShape) -> Array:
    """Rectified noise [1,C,H,W] in which a share of the channels are scaled copies of sixteen."""
    random = np.random.default_rng(1)
    maps = random.standard_normal((shape.in_channels, shape.out_h, shape.out_w), dtype=np.float32)
    sources = random.standard_normal((16, shape.out_h, shape.out_w), dtype=np.float32)
    for channel in np.flatnonzero(random.random(shape.in_channels) < _ALIKE):
        maps[channel] = sources[random.integers(16)] * random.uniform(0.5, 2)
    maps[random.random(shape.in_channels) < 0.1] = 0
    return np.maximum(maps, 0)[None]


def _blocked(x: Array) -> Array:
    """The same memory size and declared shape, in the blocked order."""
    n, channels, height, width = x.shape
    blocks = x.reshape(n, channels // BLOCK, BLOCK, height, width).transpose(0, 1, 3, 4, 2)
    return np.ascontiguousarray(blocks).reshape(x.shape)
