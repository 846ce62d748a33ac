"""Turns the selected Convs into HasteConv and notes for every Conv what became of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from haste_export.constants import Constants
from haste_export.contract import CONV, DOMAIN, NCHW, OIHW
from haste_export.graph import Names, add_initializer, image_size, nodes_of, sizes_of
from haste_export.hyperplanes import draw_hyperplanes
from haste_export.options import NameFilter, Options
from haste_export.passes.inline import convs_by_function, obstacles
from haste_export.report import LayerReport, LayerSpeed, Report
from haste_export.rules.select import ConvForm, conv_form


def decide(model: ir.Model, options: Options) -> list[tuple[ir.Node, ConvForm | str]]:
    """Every Conv, the main graph's first, with its form if it can and may be rewritten, else with the reason.

    Raises OptionError if an include, an exclude or the plan names no Conv.
    """
    convs = list(nodes_of(model, "", "Conv"))
    name_filter = NameFilter(options, [str(conv.name) for conv in convs])
    options.plan.check_names(str(conv.name) for conv in convs)
    constants = Constants(model)
    return [
        (conv, _refusal(conv, position, name_filter, options) or conv_form(conv, constants))
        for position, conv in enumerate(convs)
    ]


def patch_of(conv: ir.Node, form: ConvForm, options: Options) -> int:
    """The patch that a Conv gets as HasteConv."""
    return options.patch_of(str(conv.name), form.kernel, *image_size(conv.outputs[0]))


class RewriteConvs(ir.passes.InPlacePass):
    """Conv -> HasteConv, with the hyperplanes; the input L is a placeholder until steering is attached.

    The report gets its layers here: every Conv, in the order of the nodes, the main graph's first. `stay` gives further
    layers that stay, each with a reason; a layer that could not be rewritten anyway keeps its own. `speeds` has the
    times of layers. Both are read when the pass is called.
    """

    def __init__(
        self, options: Options, report: Report, *, stay: Mapping[str, str], speeds: Mapping[str, LayerSpeed]
    ) -> None:
        super().__init__()
        self._options = options
        self._report = report
        self._stay = stay
        self._speeds = speeds

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Raise OptionError if an include, an exclude or the plan names no Conv."""
        constants, names = Constants(model), Names(model)
        modified = False
        for conv, decision in decide(model, self._options):
            stays = self._stay.get(str(conv.name)) if isinstance(decision, ConvForm) else None
            form = stays or decision
            self._report.layers.append(layer := _layer(conv, form, constants))
            layer.speed = self._speeds.get(layer.name)
            if isinstance(form, ConvForm):
                layer.patch = patch_of(conv, form, self._options)
                self._replace(model, conv, form, layer.patch, names)
                modified = True
        self._report.layers += _inside_functions(model)
        return ir.passes.PassResult(model, modified=modified)

    def _replace(self, model: ir.Model, conv: ir.Node, form: ConvForm, patch: int, names: Names) -> None:
        options, graph, layer = self._options, conv.graph, str(conv.name)
        assert graph is not None
        window = (patch + form.kernel[0] - 1) * (patch + form.kernel[1] - 1)
        planes = draw_hyperplanes(layer, options.max_hyperplanes, window, sparsity=options.sparsity, seed=options.seed)
        bias = form.bias if form.bias is not None else np.zeros(form.out_channels, np.float32)
        new_bias = add_initializer(model.graph, names.fresh(f"{layer}/bias"), _copied(bias))
        new_planes = add_initializer(model.graph, names.fresh(f"{layer}/hyperplanes"), planes)
        weights = conv.inputs[1]
        assert weights is not None
        if not weights.is_initializer():
            weights = add_initializer(model.graph, names.fresh(f"{layer}/weight"), _copied(form.weights))
        out = conv.outputs[0]
        haste = ir.Node(
            DOMAIN,
            CONV,
            # L is attached by the steering pass.
            [conv.inputs[0], weights, new_bias, new_planes, None],
            [
                ir.AttrInt64s("kernel_shape", form.kernel),
                ir.AttrInt64s("pads", form.pads),
                ir.AttrInt64s("strides", [1, 1]),
                ir.AttrInt64s("dilations", [1, 1]),
                ir.AttrInt64("group", 1),
                ir.AttrInt64("patch", patch),
                ir.AttrString("merge", options.merge),
                ir.AttrString("activation", ""),
                ir.AttrFloat32s("activation_params", []),
                ir.AttrString("w_layout", OIHW),
                ir.AttrString("x_layout", NCHW),
                ir.AttrString("z_layout", NCHW),
                ir.AttrString("y_layout", NCHW),
            ],
            outputs=[ir.Value(name=out.name, type=ir.TensorType(ir.DataType.FLOAT), shape=out.shape)],
            name=layer,
        )
        new_out = haste.outputs[0]
        if new_out.shape is None:
            new_out.shape = ir.Shape([None, form.out_channels, None, None])
        elif new_out.shape.rank() == 4 and not isinstance(new_out.shape[1], int):
            new_out.shape = ir.Shape([new_out.shape[0], form.out_channels, *new_out.shape[2:]])
        ir.convenience.replace_nodes_and_values(graph, conv, [conv], [haste], [out], [new_out])


def _refusal(conv: ir.Node, position: int, name_filter: NameFilter, options: Options) -> str | None:
    """Why the options do not want this layer, or None."""
    name = str(conv.name)
    if position < options.skip_first:
        count = options.skip_first
        return "it is the first convolution" if count == 1 else f"it is among the first {count} convolutions"
    return name_filter.refusal(name) or options.plan.stay_conv.get(name)


def _layer(conv: ir.Node, form: ConvForm | str, constants: Constants) -> LayerReport:
    weights = constants.tensor(conv.inputs[1])
    shape = sizes_of(weights) if weights is not None else ()
    height, width = image_size(conv.outputs[0])
    return LayerReport(
        name=str(conv.name),
        status="left" if isinstance(form, str) else "rewritten",
        reason=form if isinstance(form, str) else None,
        in_channels=shape[1] * conv.attributes.get_int("group", 1) if shape else None,
        out_channels=shape[0] if shape else None,
        group=conv.attributes.get_int("group", 1),
        kernel=shape[2:],
        height=height,
        width=width,
    )


def _inside_functions(model: ir.Model) -> list[LayerReport]:
    """Convs in the bodies of local functions that were not inlined: one body serves calls with different weights."""
    reasons = obstacles(model)
    return [
        LayerReport(
            name=str(node.name),
            status="left",
            reason=f"it is inside the local function '{function.name}', which "
            + reasons.get(function.identifier(), "nothing calls"),
        )
        for function, convs in convs_by_function(model).items()
        for node in convs
    ]


def _copied(data: np.ndarray | ir.TensorProtocol) -> np.ndarray:
    """An array of its own, so that renaming it changes no tensor of the original model."""
    return data if isinstance(data, np.ndarray) else data.numpy()
