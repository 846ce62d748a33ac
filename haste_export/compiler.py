"""The compiler: from a model to a compressed model, as lists of passes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass
from onnxscript.rewriter import RewriteRule, RewriteRuleSet

from haste_export.constants import Constants
from haste_export.contract import CONV, DOMAIN, MIN_OPSET, NCHW, W, Z
from haste_export.defects import blame, explained
from haste_export.dims import Dims
from haste_export.errors import HasteError, OptionError, UnsupportedModelError
from haste_export.graph import nodes_of
from haste_export.io import check_result_files, default_target, load_model, save_model
from haste_export.options import Options
from haste_export.passes.attach_functions import AttachFunctions
from haste_export.passes.finish import Finish
from haste_export.passes.identities import RemoveIdentities
from haste_export.passes.infer_shapes import InferShapes
from haste_export.passes.inline import InlineFunctions
from haste_export.passes.layout import BlockedLayout
from haste_export.passes.pack import PackWeights
from haste_export.passes.prepare import Prepare
from haste_export.passes.rewrite import RewriteConvs
from haste_export.passes.statistics import AddStatistics
from haste_export.passes.steering import AttachSteering
from haste_export.plan import LayerSetting
from haste_export.proto import to_ir
from haste_export.report import Report
from haste_export.rules.fold_affine import fold_affine_rules
from haste_export.rules.fold_batch_norm import FoldBatchNorm
from haste_export.rules.fold_pad import FoldPad
from haste_export.rules.fuse_activation import fuse_activation_rules
from haste_export.rules.fuse_hard_swish import FuseHardSwish
from haste_export.rules.fuse_residual import fuse_residual_rules
from haste_export.rules.fuse_silu import FuseSilu
from haste_export.speed.predict import PredictGains

if TYPE_CHECKING:
    from haste_export.speed.timing import Timing

_LOGGER = logging.getLogger(__name__)

ModelOrPath = TypeVar("ModelOrPath", str, Path, onnx.ModelProto)
Step = tuple[str, Callable[[ir.Model], object]]
"""A pass, by name. It changes the model, and fills in its part of the report, when it is called and not before."""


def compress(model: ModelOrPath, output: str | Path | None = None, **options: Any) -> ModelOrPath:
    """Rewrite the convolutions of a trained model into HasteConv.

    Args:
        model: a path or a ModelProto; neither is changed, unless `output` is the same path.
        output: where to write, for a path; `model.haste.onnx` beside `model.onnx` if omitted. The report goes beside
            it, as `model.haste.json`, and replaces no file but such a report.
        **options: see `Options`; also `external_data=True` to write the weights into a file of their own, and
            `timing`, a `haste_export.speed.timing.Timing`, which says how `select="measured"` measures.

    Returns:
        What was given: the path of the result, or a new ModelProto. If nothing can be rewritten, the result is the
        original model.

    Raises:
        HasteError: one of its kinds, with a sentence that says why.
    """
    return compress_with_report(model, output, **options)[0]


def compress_with_report(
    model: ModelOrPath,
    output: str | Path | None = None,
    *,
    external_data: bool = False,
    timing: Timing | None = None,
    **options: Any,
) -> tuple[ModelOrPath, Report]:
    """As `compress`, and also return the report."""
    chosen = _options(options)
    if isinstance(model, onnx.ModelProto):
        if output is not None or external_data:
            raise OptionError("output and external_data are for a model given by its path")
        # A copy, because onnx_ir's tensors are views of the proto and renaming one would show in it.
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        with blame(model):
            result, report = _selected(to_ir(copy, "the model"), chosen, timing)
            if report.rewritten:
                return ir.to_proto(result), report
        copy.CopyFrom(model)
        return copy, report
    source = Path(model)
    target = default_target(source) if output is None else Path(output)
    with blame(source):
        original = load_model(source)
        check_result_files(target, source, original, external_data=external_data)
        result, report = _selected(original, chosen, timing)
        report.source, report.target = str(source), str(target)
        kept = result if report.rewritten else load_model(source)
        save_model(kept, target, external_data=external_data, report=report)
    return type(model)(target), report


def _selected(model: ir.Model, options: Options, timing: Timing | None) -> tuple[ir.Model, Report]:
    """Compress in place; with select="measured", only what gains on this machine."""
    if options.select != "measured":
        return compress_ir(model, options)
    # Imported here, because measuring compresses too, and needs ONNX Runtime.
    from haste_export.speed.measured import measure
    from haste_export.speed.timing import Timing

    # Statistics are for looking, and would be timed too.
    measured = measure(model, replace(options, stats=False), timing or Timing())
    plan = replace(options.plan, stay_conv={**options.plan.stay_conv, **measured.stay})
    result, report = compress_ir(model, replace(options, plan=plan))
    report.options, report.speed, report.dense = options, measured.speed, measured.dense
    for layer in report.layers:
        layer.speed = measured.layers.get(layer.name)
    return result, report


def compress_ir(model: ir.Model, options: Options) -> tuple[ir.Model, Report]:
    """Compress an onnx_ir model in place; nothing is measured here, and select="measured" takes all that qualify.

    Raises:
        UnsupportedModelError: it is of a kind that the compiler cannot take.
        OptionError: an option does not fit the model.
        DefectError: as `run_passes`.
    """
    check_supported(model)
    report = Report(options)
    run_passes(model, [*preparation(options), *selection(options, report)])
    if report.rewritten:
        run_passes(model, completion(options, report))
    return model, report


def run_passes(model: ir.Model, steps: Iterable[Step]) -> None:
    """Run passes in place, in their order.

    Raises:
        DefectError: one fails, which a valid model does not make it do; `blame` finds out whether the model is.
        HasteError: as the passes say.
    """
    for name, step in steps:
        _LOGGER.info("pass %s", name)
        try:
            step(model)
        except HasteError:
            raise
        except Exception as error:
            told = explained(error, f"the pass '{name}'")
            raise told from told.__cause__


def preparation(options: Options) -> list[Step]:
    """The passes before the selection: they fold what they can, and say what every tensor's shape is.

    Folding comes before the selection, so that layers are seen as they will run.
    """
    return [
        ("inline", InlineFunctions()),
        ("prepare", Prepare(options)),
        ("sort", TopologicalSortPass()),
        ("remove-identities", RemoveIdentities()),
        ("fold-pad", lambda model: apply_rules(model, [FoldPad(Constants(model)).as_rule()])),
        ("fold-batch-norm", lambda model: apply_rules(model, [FoldBatchNorm(Constants(model)).as_rule()])),
        ("fold-affine", lambda model: apply_rules(model, fold_affine_rules(Constants(model)))),
        ("remove-unused", RemoveUnusedNodesPass()),
        ("infer-shapes", InferShapes()),
    ]


def selection(options: Options, report: Report) -> list[Step]:
    """The passes that choose the layers and rewrite them; `report` then has all layers."""
    predicted = PredictGains(options, report)
    rewrite = RewriteConvs(options, report, stay=predicted.stay, speeds=predicted.layers)
    return [*([("predict-gains", predicted)] if options.select == "model" else []), ("rewrite", rewrite)]


def completion(options: Options, report: Report) -> list[Step]:
    """The passes after the selection, for a model of which something was rewritten.

    Fusing comes only here, so that a Conv that stays keeps the form that the runtime fuses by itself.
    """
    return [
        ("fuse-residual", lambda model: apply_rules(model, fuse_residual_rules(Dims()))),
        ("fuse-gated-activation", lambda model: apply_rules(model, _gated_rules())),
        ("fuse-activation", lambda model: apply_rules(model, fuse_activation_rules(Constants(model)))),
        ("steering", AttachSteering(options, report)),
        *([("layout", BlockedLayout(report))] if options.layout == "blocked" else []),
        *([("pack-weights", PackWeights(report, half=options.weights == "fp16"))] if options.weights != "oihw" else []),
        ("remove-unused-again", RemoveUnusedNodesPass()),
        *([("statistics", AddStatistics())] if options.stats else []),
        ("attach-functions", AttachFunctions(stats=options.stats)),
        ("finish", Finish(options)),
        ("report", lambda model: _describe(model, options, report)),
    ]


def apply_rules(model: ir.Model, rules: Sequence[RewriteRule]) -> int:
    """Apply rewrite rules to the graphs of the model, but not to its local functions; returns how often one applied."""
    functions = dict(model.functions)
    model.functions.clear()
    try:
        return RewriteRuleSet(rules).apply_to_model(model)
    finally:
        model.functions.update(functions)


def _gated_rules() -> list[RewriteRule]:
    """Products of a value and its gate, in both orders."""
    return [swapped for rule in (FuseSilu(), FuseHardSwish()) for swapped in rule.as_rule().commute()]


def check_supported(model: ir.Model) -> None:
    """Raise UnsupportedModelError for a model of a kind that the compiler cannot take."""
    imports = model.graph.opset_imports
    opset = imports.get("", imports.get("ai.onnx"))
    if DOMAIN in imports:
        raise UnsupportedModelError("the model is compressed already; compress the original")
    if opset is None:
        if any(node.domain in ("", "ai.onnx") for graph in model.graphs() for node in graph):
            raise UnsupportedModelError("the model does not say which opset it uses")
        imports[""] = onnx.defs.onnx_opset_version()
        return
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise UnsupportedModelError(f"opset {opset} is unknown to the installed onnx, which knows up to {newest}")
    if opset < MIN_OPSET:
        raise UnsupportedModelError(f"opset {opset} is too old; {MIN_OPSET} is the oldest that can be compressed")
    if len(model.graph) == 0:
        raise UnsupportedModelError("the model's graph is empty")


def _describe(model: ir.Model, options: Options, report: Report) -> None:
    """Fill in what the nodes say about each rewritten layer."""
    default = LayerSetting(options.hyperplanes, options.tau)
    stored: dict[ir.Value, tuple[int, int]] = {}
    for node in nodes_of(model, DOMAIN, CONV):
        layer = report.layer(str(node.name))
        setting = options.plan.setting(layer.name, default)
        layer.hyperplanes, layer.tau = setting.hyperplanes, setting.tau
        layer.activation = node.attributes.get_string("activation", "")
        layer.input_layout = node.attributes.get_string("x_layout", NCHW)
        layer.output_layout = node.attributes.get_string("y_layout", NCHW)
        weights = node.inputs[W]
        assert weights is not None
        assert weights.const_value is not None
        layer.weight_type, layer.weight_bytes = weights.const_value.dtype.numpy().name, weights.const_value.nbytes
        stored[weights] = layer.weight_bytes, 4 * weights.const_value.size
        residual = node.inputs[Z] if len(node.inputs) > Z else None
        if residual is not None and not residual.is_initializer():
            layer.residual_layout = node.attributes.get_string("z_layout", NCHW)
    report.weight_bytes = sum(size for size, _ in stored.values())
    report.weight_bytes_float32 = sum(size for _, size in stored.values())


def _options(values: dict[str, Any]) -> Options:
    try:
        return Options(**values)
    except TypeError as error:
        raise OptionError(str(error).replace("Options.__init__()", "compress()")) from error
