"""The selection with a clock: layers, chains of layers and the whole model are timed against stock on this machine.

1. Every layer that qualifies is timed alone, as Conv and as HasteConv, on the input that it gets in the model.
2. Whole models are timed: with the layers that gain alone, with those that the cost model predicts, and with all.
3. From the best of them, chains of HasteConvs are taken away and others added, one at a time, while it helps.
4. If the best is not faster than stock by the margin, every layer stays. In the same turns it is timed in dense mode,
   which says whether merging gains anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from haste_export.bench.inputs import Feeds
from haste_export.compiler import check_supported, compress_ir, preparation, run_passes
from haste_export.options import Options
from haste_export.passes.rewrite import decide, patch_of
from haste_export.plan import LayerSetting, Plan
from haste_export.report import DenseSpeed, LayerSpeed, ModelSpeed
from haste_export.rules.select import ConvForm
from haste_export.speed.choose import choose
from haste_export.speed.dense import is_comparable
from haste_export.speed.lone import LoneLayer, lone_layers
from haste_export.speed.model import costs_of
from haste_export.speed.network import MARGIN, Network, build_network
from haste_export.speed.predict import library_isa, target_isa
from haste_export.speed.timing import RANDOM_INPUT, SessionTimer, Timer, Timing, Turns, speedup

CHAIN_MARGIN = 1.01
"""How much faster the whole model must get for a chain to be added or taken away."""
_MOST_TRIALS = 12

Names = frozenset[str]


@dataclass(frozen=True)
class Measured:
    """Outcome: layers that stay although they qualify, each with the reason, and all times.

    `dense` has the result at the L asked for and in dense mode; None if all stay, or L is not one number above 0.
    """

    stay: Mapping[str, str]
    layers: Mapping[str, LayerSpeed]
    speed: ModelSpeed | None
    dense: DenseSpeed | None = None


def measure(model: ir.Model, options: Options, timing: Timing) -> Measured:
    """Choose by the clock; the model is not changed.

    Raises:
        MissingDependencyError: the op library is missing or does not run.
        InputValueError: the model cannot be fed.
        NotRunnableError: ONNX Runtime cannot run the model.
        HasteError: as `compress_ir`.
    """
    check_supported(model)
    original = _proto(model)
    timer = timing.timer or SessionTimer(timing.threads)
    prepared, network, inner, patches = _prepare(original, options)
    names = [layer.name for layer in network.layers]
    eligible = frozenset(patches)
    if not eligible | inner:
        return Measured({}, {}, None)
    feeds = timing.feeds(original, dict(options.input_shapes))
    alone = _time_alone(prepared, patches, feeds, options, timing, timer)
    gaining = frozenset(name for name, speed in alone.items() if speed.stock_ms >= MARGIN * speed.haste_ms)
    predicted = frozenset(names[index] for index in choose(network)) & frozenset(alone)
    trial = _Trials(original, options, eligible | inner, feeds, timing, timer)
    best = trial.best([gaining, predicted, frozenset(alone)])
    best = _refine(trial, best, network, alone)
    stock, haste, *dense = trial.final(best)
    ratio = speedup(stock, haste)
    unchanged = ratio < MARGIN
    chosen = frozenset[str]() if unchanged else best
    against_dense = None if unchanged or not dense else _against_dense(haste, *dense)
    speed = ModelSpeed(
        float(np.median(stock)),
        float(np.median(haste)),
        ratio,
        unchanged,
        timing.threads,
        library_isa(),
        str(timing.input_file or RANDOM_INPUT),
    )
    stay = {name: _reason(alone.get(name)) for name in sorted((eligible | inner) - chosen)}
    return Measured(stay, alone, speed, against_dense)


def _proto(model: ir.Model) -> onnx.ModelProto:
    """The model in memory, with its weights."""
    copy = ir.from_proto(ir.to_proto(model))
    for graph, own in zip(copy.graphs(), model.graphs(), strict=True):
        for name, value in own.initializers.items():
            if isinstance(value.const_value, ir.ExternalTensor):
                graph.initializers[name].const_value = ir.tensor(value.const_value.numpy(), name=name)
    return ir.to_proto(copy)


def _prepare(original: onnx.ModelProto, options: Options) -> tuple[onnx.ModelProto, Network, Names, dict[str, int]]:
    """What is measured: the model before the selection, its network, layers that cannot be timed, and the others.

    Those in branches and loops cannot. The others come with their patches, in the order of the model; a layer that is
    cut out has static sizes, by which its patch could be chosen otherwise.
    """
    model = ir.from_proto(_copied(original))
    run_passes(model, preparation(options))
    main, decisions, inner = set(model.graph), [], set()
    for conv, form in decide(model, options):
        if isinstance(form, ConvForm) and conv not in main:
            inner.add(str(conv.name))
            form = "it is inside a branch or loop"
        decisions.append((conv, form))
    costs, default = costs_of(target_isa(options)), LayerSetting(options.hyperplanes, options.tau)
    network = build_network(
        model, decisions, options, costs, lambda name: options.plan.setting(name, default).hyperplanes
    )
    eligible = {layer.name for layer in network.layers if layer.eligible}
    forms = {str(conv.name): (conv, form) for conv, form in decisions if isinstance(form, ConvForm)}
    patches = {name: patch_of(*pair, options) for name, pair in forms.items() if name in eligible}
    return ir.to_proto(model), network, frozenset(inner), patches


def _time_alone(
    prepared: onnx.ModelProto,
    patches: Mapping[str, int],
    feeds: Feeds,
    options: Options,
    timing: Timing,
    timer: Timer,
) -> dict[str, LayerSpeed]:
    speeds = {}
    for place, layer in enumerate(lone_layers(prepared, list(patches), feeds)):
        timing.progress(layer.name, len(patches) - place + _MOST_TRIALS + 2)
        haste_model = _compressed_alone(layer, patches[layer.name], options)
        stock, haste = timer([layer.model, haste_model], layer.feeds, timing.layer_seconds)
        speeds[layer.name] = LayerSpeed("measured", float(np.median(stock)), float(np.median(haste)))
    return speeds


def _compressed_alone(layer: LoneLayer, patch: int, options: Options) -> onnx.ModelProto:
    setting = options.plan.setting(layer.name, LayerSetting(options.hyperplanes, options.tau))
    own = replace(
        options, select="all", plan=Plan(), skip_first=0, include=(), exclude=(), input_shapes={}, layout="nchw",
        hyperplanes=setting.hyperplanes, tau=setting.tau, patch=patch,
    )  # fmt: skip
    return ir.to_proto(compress_ir(ir.from_proto(_copied(layer.model)), own)[0])


class _Trials:
    """Compresses the model with chosen layers and times it as a whole."""

    def __init__(
        self,
        original: onnx.ModelProto,
        options: Options,
        eligible: Names,
        feeds: Feeds,
        timing: Timing,
        timer: Timer,
    ) -> None:
        self._original = original
        self._options = options
        self._eligible = eligible
        self._feeds = feeds
        self._timing = timing
        self._timer = timer
        self._left = _MOST_TRIALS + 3

    def best(self, choices: Sequence[Names]) -> Names:
        """The fastest of some choices; all are timed together."""
        distinct = [choice for choice in dict.fromkeys(choices) if choice]
        if len(distinct) < 2:
            return distinct[0] if distinct else frozenset()
        times = self._times([self._model(choice) for choice in distinct])
        return distinct[int(np.argmin([np.median(own) for own in times]))]

    def is_better(self, choice: Names, than: Names) -> bool:
        """Whether the choice is faster by the margin of chains."""
        if not choice:
            return False
        before, after = self._times([self._model(than), self._model(choice)])
        return speedup(before, after) >= CHAIN_MARGIN

    def final(self, choice: Names) -> Turns:
        """Times of stock, of the choice and, where that can be compared, of the choice in dense mode.

        For an empty choice those of stock, twice.
        """
        if not choice:
            return self._times([self._original]) * 2
        models = [self._original, self._model(choice)]
        if is_comparable(self._options):
            models.append(self._model(choice, dense=True))
        return self._times(models)

    def _times(self, models: Sequence[onnx.ModelProto]) -> Turns:
        self._left -= 1
        self._timing.progress("the whole model", max(self._left, 1))
        return self._timer(models, self._feeds, self._timing.model_seconds)

    def _model(self, choice: Names, *, dense: bool = False) -> onnx.ModelProto:
        if not choice:
            return self._original
        stay = {**self._options.plan.stay_conv, **dict.fromkeys(self._eligible - choice, "it does not gain")}
        own = replace(self._options, select="all", plan=replace(self._options.plan, stay_conv=stay))
        own = replace(own, hyperplanes=0) if dense else own
        return ir.to_proto(compress_ir(ir.from_proto(_copied(self._original)), own)[0])


def _against_dense(haste: npt.NDArray[np.float64], dense: npt.NDArray[np.float64]) -> DenseSpeed:
    ratio = speedup(dense, haste)
    return DenseSpeed("measured", float(np.median(haste)), float(np.median(dense)), ratio, ratio >= MARGIN)


def _refine(trial: _Trials, best: Names, network: Network, alone: Mapping[str, LayerSpeed]) -> Names:
    """Take chains away and add others, those that promise most first, while the model as a whole gets faster."""
    names = [layer.name for layer in network.layers]

    def chains(members: Names) -> list[Names]:
        found = network.components(index for index, name in enumerate(names) if name in members)
        return [frozenset(names[index] for index in chain) for chain in found]

    def saved(chain: Names) -> float:
        return sum(alone[name].stock_ms - alone[name].haste_ms for name in chain)

    drops = sorted(((saved(chain), chain) for chain in chains(best)), key=lambda pair: pair[0])
    adds = sorted(((-saved(chain), chain) for chain in chains(frozenset(alone) - best)), key=lambda pair: pair[0])
    moves = sorted([*drops, *adds], key=lambda pair: pair[0])[:_MOST_TRIALS]
    for _, chain in moves:
        if trial.is_better(best ^ chain, best):
            best ^= chain
    return best


def _reason(speed: LayerSpeed | None) -> str:
    if speed is None:
        return "it is inside a branch or loop, where it cannot be timed alone"
    times = f"{speed.haste_ms:.2f} ms as HasteConv, {speed.stock_ms:.2f} ms as Conv"
    if speed.stock_ms >= MARGIN * speed.haste_ms:
        return f"it gains alone ({times}), and the model as a whole does not gain by it"
    return f"it does not gain: {times}"


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy, because onnx_ir's tensors are views of the proto."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
