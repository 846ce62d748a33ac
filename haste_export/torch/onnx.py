"""From a PyTorch model with `HasteConv2d` to a compressed ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from haste_export.errors import OutputError
from haste_export.graph import nodes_of
from haste_export.io import save_model
from haste_export.options import Options
from haste_export.passes.attach_functions import AttachFunctions
from haste_export.passes.steering import AttachSteering
from haste_export.report import Report
from haste_export.torch.module import layers


def export(module: nn.Module, args: tuple[Any, ...], path: str | Path, **options: Any) -> None:
    """Write a compressed network as an ONNX file: HasteConv nodes, steered by haste_hyperplanes, with exact bodies.

    `torch.onnx.export` alone gives the same nodes, but a model that runs nowhere without the op library and whose L is
    fixed.

    Args:
        module: a network with `HasteConv2d` layers, all with the same L and τ where the file has one default for all.
        args: example inputs.
        path: file to write.
        **options: further arguments of `torch.onnx.export`, such as `dynamic_shapes` and `input_names`.

    Raises:
        ValueError: the module has no `HasteConv2d`, or they differ in L or τ.
        OutputError: the file can not be written.
    """
    settings = {(layer.count, layer.tau, len(layer.hyperplanes)) for _, layer in layers(module)}
    if len(settings) != 1:
        raise ValueError("there is no HasteConv2d" if not settings else "the layers differ in L, Lmax or tau")
    count, tau, stored = settings.pop()
    program = torch.onnx.export(module.eval(), args, dynamo=True, verbose=False, **options)
    assert program is not None
    model: ir.Model = program.model
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with the paths of this machine
    _name_after_weights(model)
    common = Options(hyperplanes=count, tau=tau, max_hyperplanes=stored)
    AttachSteering(common, Report(common))(model)
    AttachFunctions()(model)
    try:
        save_model(model, Path(path))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _name_after_weights(model: ir.Model) -> None:
    """Call every HasteConv as its module is called: its weight is `NAME.weight`."""
    for node in nodes_of(model, "ai.haste", "HasteConv"):
        weights = node.inputs[1]
        if weights is not None and weights.name is not None and weights.name.endswith(".weight"):
            node.name = weights.name.removesuffix(".weight")
