"""Times one layer, stock and ours in turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

import haste_export
import runtime_ops
from haste_export.instrument import instrument, layer_of
from tools.engines.adapters.haste import STEERING
from tools.engines.adapters.onnxruntime_f32 import session_options
from tools.scaling.layer import INPUT, OUTPUT, Layer, build

Array = npt.NDArray[np.float32]
_PATCHES, _CHANNELS, _BUCKETS = 0, 1, 2  # positions in the operator's statistics


@dataclass
class _Candidate:
    session: onnxruntime.InferenceSession
    feeds: dict[str, npt.NDArray[Any]]
    milliseconds: list[float] = field(default_factory=list)


class NotNativeError(Exception):
    """The op library did not run; nothing that is measured would be ours."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one run: median and quartiles."""

    median: float
    first_quartile: float
    third_quartile: float


@dataclass(frozen=True)
class Result:
    """One layer measured.

    Attributes:
        layer: what was measured.
        stock: the plain convolution.
        ours: HasteConv at the layer's L.
        turns: timed runs of each.
        compression: r = 1 − buckets / channels, measured on this input; 0 in dense mode.
    """

    layer: Layer
    stock: Timing
    ours: Timing
    turns: int
    compression: float


def measure(layer: Layer, x: Array, seconds: float, min_turns: int = 5) -> Result:
    """Measure a layer on one input for about `seconds`, at least min_turns turns.

    A turn is an untimed and a timed run, so that weights are in the caches; stock and ours alternate who begins. The
    sessions share a process, so the idle one's threads are told to stop spinning after each run.

    Raises:
        NotNativeError: the op library did not run.
        LibraryNotFoundError: there is none.
    """
    stock_model = build(layer)
    our_model = haste_export.compress(stock_model, skip_first=0, select="all")
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "stock.onnx", Path(folder) / "ours.onnx"
        for model, path in zip((stock_model, our_model), paths, strict=True):
            onnx.save(model, path)
        stock = onnxruntime.InferenceSession(str(paths[0]), _options(layer), providers=["CPUExecutionProvider"])
        ours = runtime_ops.Session(paths[1], options=_options(layer)).inference
    steering = np.array(layer.hyperplanes, dtype=np.int64)
    compression = _compression(our_model, layer, x)
    candidates = _Candidate(stock, {INPUT: x}), _Candidate(ours, {INPUT: x, STEERING: steering})
    _take_turns(candidates, seconds, min_turns)
    timings = [_summary(candidate.milliseconds) for candidate in candidates]
    return Result(layer, timings[0], timings[1], len(candidates[0].milliseconds), compression)


def _options(layer: Layer) -> onnxruntime.SessionOptions:
    options = session_options(layer.threads)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _take_turns(candidates: Sequence[_Candidate], seconds: float, min_turns: int) -> None:
    began, number = time.monotonic(), 0
    while number < min_turns or time.monotonic() - began < seconds:
        for candidate in candidates if number % 2 == 0 else reversed(candidates):
            candidate.session.run([OUTPUT], candidate.feeds)
            start = time.perf_counter()
            candidate.session.run([OUTPUT], candidate.feeds)
            candidate.milliseconds.append((time.perf_counter() - start) * 1e3)
        number += 1


def _summary(times: list[float]) -> Timing:
    first, middle, third = np.percentile(times, [25, 50, 75])
    return Timing(float(middle), float(first), float(third))


def _compression(model: onnx.ModelProto, layer: Layer, x: Array) -> float:
    session = runtime_ops.Session(instrument(model).SerializeToString(), options=_options(layer)).inference
    names = [output.name for output in session.get_outputs() if layer_of(output.name) is not None]
    (stats,) = session.run(names, {INPUT: x, STEERING: np.array(layer.hyperplanes, dtype=np.int64)})
    if not stats[_PATCHES]:
        raise NotNativeError("the op library did not run: HasteConv's statistics are zero")
    return float(1 - stats[_BUCKETS] / stats[_CHANNELS])
