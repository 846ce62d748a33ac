"""The selection without a clock: layers that the cost model does not predict to gain stay Conv."""

from __future__ import annotations

import platform

import onnx_ir as ir

from haste_export.options import Options
from haste_export.passes.rewrite import decide
from haste_export.plan import LayerSetting
from haste_export.report import LayerSpeed, Report
from haste_export.speed.choose import choose, gain
from haste_export.speed.dense import is_comparable, predicted_dense
from haste_export.speed.model import DEFAULT_ISA, costs_of, known_isas
from haste_export.speed.network import build_network


class PredictGains(ir.passes.InPlacePass):
    """Looks only; the model stays as it is.

    `stay` holds the layers that qualify and should stay Conv nevertheless, each with a reason, and `layers` the
    predicted times of all that qualify, without conversions. What a plan gives a level is wanted, and not predicted.
    The report gets the comparison with dense mode, and a warning if the prediction is for another instruction set than
    the one wanted.
    """

    def __init__(self, options: Options, report: Report) -> None:
        super().__init__()
        self._options = options
        self._report = report
        self.stay: dict[str, str] = {}
        self.layers: dict[str, LayerSpeed] = {}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Raise OptionError if an include, an exclude or the plan names no Conv."""
        options = self._options
        default = LayerSetting(options.hyperplanes, options.tau)
        wanted_isa, isa = library_isa() if options.isa == "auto" else options.isa, target_isa(options)
        if isa != wanted_isa:
            self._report.warnings.append(
                f"the cost model has no constants for the instruction set '{wanted_isa}'; layers were chosen as for "
                f"'{isa}'. --select measured chooses by a clock."
            )
        network = build_network(
            model,
            decide(model, options),
            options,
            costs_of(isa),
            lambda name: options.plan.setting(name, default).hyperplanes,
        )
        planned = set().union(*options.plan.levels)
        wanted = frozenset(index for index, layer in enumerate(network.layers) if layer.name in planned)
        chosen = choose(network, wanted)
        if is_comparable(options):
            self._report.dense = predicted_dense([network.layers[index] for index in sorted(chosen)])
        for index, layer in enumerate(network.layers):
            if not layer.eligible:
                continue
            self.layers[layer.name] = LayerSpeed("model", layer.stock / 1e6, layer.haste / 1e6, layer.dense / 1e6)
            if index not in chosen:
                predicted = gain(network, chosen, index)
                asked = f", less than the {layer.margin:.2f} that are asked for" if predicted >= 1 else ""
                self.stay[layer.name] = (
                    f"HasteConv is predicted to run at {predicted:.2f} times the speed of the Conv{asked}"
                )
        return ir.passes.PassResult(model, modified=False)


def target_isa(options: Options) -> str:
    """Instruction set to predict for: what the options say, else `library_isa`; one that has constants in any case."""
    wanted = library_isa() if options.isa == "auto" else options.isa
    return wanted if wanted in known_isas() else _usual_isa()


def library_isa() -> str:
    """The op library's own choice on this machine; without a library, what processors of this kind have."""
    from runtime_ops import LibraryNotFoundError, native

    try:
        return native.isa()
    except (LibraryNotFoundError, OSError):
        return _usual_isa()


def _usual_isa() -> str:
    return "neon" if platform.machine().lower() in ("aarch64", "arm64") else DEFAULT_ISA
