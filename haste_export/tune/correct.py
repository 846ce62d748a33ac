"""Corrects every compressed layer's first two moments: a gain and a bias per output channel, for every level of a plan.

Merging shrinks a layer's output by a few per cent, nearly alike in all its channels, and the shrinking compounds from
layer to layer. A gain per channel undoes it. It needs a hundred images without labels and costs nothing at run time:
the kernels apply it where they add the bias (docs/operator.md, input A). Dense mode and the exact bodies ignore it.

For every layer in turn, with the layers before it corrected already: gain = σ_stock / σ_compressed, and the bias that
gives the compressed layer stock's mean. Moments are over all images and pixels, before the residual and the activation.

The order matters. Moments measured behind stock's layers, which do not depend on the other layers' settings and could
be kept in a table, leave most of the error of a deep network; measuring all layers at once and again does not converge
(docs/accuracy.md). `stages` makes the exact way a single pass over the images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from haste_export import contract
from haste_export.evaluate import steer
from haste_export.evaluate.dataset import Dataset
from haste_export.evaluate.models import compressed_with
from haste_export.evaluate.stats import Layer
from haste_export.options import Options
from haste_export.plan import LayerSetting
from haste_export.tune.allocate import DENSE
from haste_export.tune.stages import Stage, cut

Array = npt.NDArray[Any]
Settings = Mapping[str, LayerSetting]
Corrections = steer.Corrections

LARGEST_GAIN = 2.0
"""Gains beyond this, or below its inverse, come from channels that are nearly constant and would amplify noise."""

MOST_SAMPLES, FEWEST_SAMPLES = 128, 16
_MEMORY = 2**30
_ROW = f"{contract.STEERING_LEVEL}/row"


def samples_to_use(layers: Sequence[Layer]) -> int:
    """Samples that corrections are measured on: as many as the largest layer's tensors leave room for in a gigabyte."""
    shapes = [layer.shape for layer in layers if layer.compressed]
    # Input, convolution, residual and output, float32, of a layer that keeps the size of its input.
    largest = max(4 * (s.in_channels + 3 * s.out_channels) * s.out_h * s.out_w for s in shapes)
    return min(max(_MEMORY // largest, FEWEST_SAMPLES), MOST_SAMPLES)


def corrected(
    stock: onnx.ModelProto,
    options: Options,
    dataset: Dataset,
    threads: int = 0,
    progress: Callable[[], None] | None = None,
) -> onnx.ModelProto:
    """The compressed form of a model by a plan with levels, every level corrected.

    Args:
        stock: the original.
        options: with a plan; its levels are what is corrected.
        dataset: images, of which labels are not used; about a hundred are enough.
        threads: of the sessions that measure.
        progress: called after each layer of each level.
    """
    meter = MomentMeter(in_plain_layout(stock, options), dataset, threads)
    tables = [meter.calibrate(level, progress) for level in options.plan.levels]
    return attach(compressed_with(stock, options), tables)


def in_plain_layout(stock: onnx.ModelProto, options: Options) -> onnx.ModelProto:
    """The compressed form of a model as MomentMeter takes it."""
    return compressed_with(stock, replace(options, layout="nchw", weights="oihw"))


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation [M] of a layer's output before residual and activation."""

    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @classmethod
    def of(cls, outputs: Sequence[Array]) -> Moments:
        """Of batches [N,M,H',W']."""
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for output in outputs:
            values = output.astype(np.float64)
            count += values.size // values.shape[1]
            total = total + values.sum(axis=(0, 2, 3))
            squares = squares + (values**2).sum(axis=(0, 2, 3))
        mean = total / count
        return cls(mean, np.sqrt(np.maximum(squares / count - mean**2, 0)))


class MomentMeter:
    """Measures the layers of a compressed model, and gives their corrections."""

    def __init__(self, compressed: onnx.ModelProto, dataset: Dataset, threads: int = 0) -> None:
        """Measure stock's moments; `compressed` is as from `in_plain_layout`, and `dataset` is held in memory."""
        self._stages = cut(compressed, threads)
        self._feeds = [batch.feeds for batch in dataset.batches()]
        self._stock: dict[str, Moments] = {}
        self._walk({}, self._remember)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that can be corrected."""
        return tuple(stage.name for stage in self._stages)

    def calibrate(self, settings: Settings, progress: Callable[[], None] | None = None) -> dict[str, Array]:
        """Corrections of the layers that are compressed at these settings, each measured behind those before it."""
        found: dict[str, Array] = {}

        def correct(stage: Stage, raw: Sequence[Array]) -> Array | None:
            if settings.get(stage.name, DENSE).hyperplanes > 0:
                found[stage.name] = self._correction(stage, raw)
            if progress is not None:
                progress()
            return found.get(stage.name)

        self._walk(settings, correct)
        return found

    def alone(self, settings: Settings) -> dict[str, Array]:
        """The correction of every layer with only that layer compressed, from one pass for all."""
        found: dict[str, Array] = {}

        def correct(stage: Stage, raw: Sequence[Array]) -> None:
            found[stage.name] = self._correction(stage, raw)

        self._walk(settings, correct, exact_inputs=True)
        return found

    def _remember(self, stage: Stage, raw: Sequence[Array]) -> None:
        self._stock[stage.name] = Moments.of(raw)

    def _correction(self, stage: Stage, raw: Sequence[Array]) -> npt.NDArray[np.float32]:
        return correction(self._stock[stage.name], Moments.of(raw), stage.epilogue.bias.astype(np.float64))

    def _walk(
        self,
        settings: Settings,
        visit: Callable[[Stage, Sequence[Array]], Array | None],
        *,
        exact_inputs: bool = False,
    ) -> None:
        """Send all batches through the model. `visit` sees each convolution's output and may give its correction.

        With `exact_inputs` what a layer hands on is its dense output.
        """
        batches: list[dict[str, Array]] = [dict(feeds) for feeds in self._feeds]
        for stage in self._stages:
            setting = settings.get(stage.name, DENSE)
            ran = [stage.run(values, setting) for values in batches]
            table = visit(stage, [raw for raw, _ in ran])
            if exact_inputs:
                ran = [stage.run(values, DENSE) for values in batches]
                table = None
            batches = [stage.finish(raw, table, values) for raw, values in ran]


def correction(stock: Moments, ours: Moments, bias: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """[2, M]: the gain of the convolution, and what takes the bias's place, so that both moments become stock's."""
    usable = ours.deviation > 1e-6 * max(float(stock.deviation.max(initial=0)), 1e-30)
    gain = np.divide(stock.deviation, ours.deviation, out=np.ones_like(bias), where=usable)
    gain = np.clip(gain, 1 / LARGEST_GAIN, LARGEST_GAIN)
    return np.stack([gain, stock.mean - gain * (ours.mean - bias)]).astype(np.float32)


def attach(compressed: onnx.ModelProto, levels: Sequence[Corrections]) -> onnx.ModelProto:
    """A copy in which every HasteConv takes its correction from a table, by level; level 0 has none to take."""
    model = onnx.ModelProto()
    model.CopyFrom(compressed)
    nodes = list(model.graph.node)
    first = next(place for place, node in enumerate(nodes) if node.op_type == contract.LEVEL)
    model.graph.initializer.append(numpy_helper.from_array(np.arange(len(levels) + 1, dtype=np.int64), f"{_ROW}s"))
    # One row for all: on the CUDA provider the tables, and who gathers from them, are on the device.
    row = helper.make_node(contract.LEVEL, [nodes[first].input[0], f"{_ROW}s"], [_ROW], _ROW, domain=contract.DOMAIN)
    gathers, values = [row], {}
    for name, neutral in steer.neutral_corrections(model).items():
        table = np.stack([neutral, *(level.get(name, neutral) for level in levels)]).astype(np.float32)
        base = values[name] = f"{name}/level_correction"
        model.graph.initializer.append(numpy_helper.from_array(table, f"{base}_table"))
        gathers.append(helper.make_node("Gather", [f"{base}_table", _ROW], [base], base, axis=0))
    steer.pass_corrections(model, values)
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:first], *gathers, *nodes[first:]])
    return model
