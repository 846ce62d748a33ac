"""The selection without a clock: layers that the cost model does not predict to gain stay Conv."""

from __future__ import annotations

import platform

import onnx_ir as ir

from haste_export.options import Options
from haste_export.passes.rewrite import decide
from haste_export.plan import LayerSetting
from haste_export.report import LayerSpeed
from haste_export.speed.choose import choose, gain
from haste_export.speed.model import DEFAULT_ISA, costs_of
from haste_export.speed.network import build_network


class PredictGains(ir.passes.InPlacePass):
    """Looks only; the model stays as it is.

    `stay` holds the layers that qualify and should stay Conv nevertheless, each with a reason, and `layers` the
    predicted times of all that qualify, without conversions. What a plan gives a level is wanted, and not predicted.
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._options = options
        self.stay: dict[str, str] = {}
        self.layers: dict[str, LayerSpeed] = {}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Raise OptionError if an include, an exclude or the plan names no Conv."""
        options = self._options
        default = LayerSetting(options.hyperplanes, options.tau)
        network = build_network(
            model,
            decide(model, options),
            options,
            costs_of(target_isa(options)),
            lambda name: options.plan.setting(name, default).hyperplanes,
        )
        planned = set().union(*options.plan.levels)
        wanted = frozenset(index for index, layer in enumerate(network.layers) if layer.name in planned)
        chosen = choose(network, wanted)
        for index, layer in enumerate(network.layers):
            if not layer.eligible:
                continue
            self.layers[layer.name] = LayerSpeed("model", layer.stock / 1e6, layer.haste / 1e6)
            if index not in chosen:
                self.stay[layer.name] = (
                    f"HasteConv is predicted to run at {gain(network, chosen, index):.2f} times the speed of the Conv"
                )
        return ir.passes.PassResult(model, modified=False)


def target_isa(options: Options) -> str:
    """Instruction set to predict for: what the options say, else the op library's own choice on this machine."""
    if options.isa != "auto":
        return options.isa
    from runtime_ops import LibraryNotFoundError, native

    try:
        return native.isa()
    except (LibraryNotFoundError, OSError):
        return "neon" if platform.machine().lower() in ("aarch64", "arm64") else DEFAULT_ISA
