"""Last touches: provenance in the model's metadata, and no traces of the rewriter."""

from __future__ import annotations

import onnx_ir as ir
from onnxscript.rewriter import RULE_NAME_TAG

from haste_export.options import Options
from haste_export.version import __version__


class Finish(ir.passes.InPlacePass):
    """Writes method, seed, L, s and version into `metadata_props`, and drops what rewriting left behind."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._options = options

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Change metadata only."""
        options = self._options
        model.metadata_props.update({
            "haste.version": __version__,
            "haste.method": options.merge,
            "haste.hyperplanes": str(options.hyperplanes),
            "haste.max_hyperplanes": str(options.max_hyperplanes),
            "haste.sparsity": repr(options.sparsity),
            "haste.patch": str(options.patch),
            "haste.seed": str(options.seed),
            "haste.tau": repr(options.tau),
        })  # fmt: skip
        for graph in model.graphs():
            for node in graph:
                node.metadata_props.pop(RULE_NAME_TAG, None)
        return ir.passes.PassResult(model, modified=True)
