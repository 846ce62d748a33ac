"""Last touch: provenance in the model's metadata."""

from __future__ import annotations

import onnx_ir as ir

from haste_export.options import Options
from haste_export.version import __version__


class Finish(ir.passes.InPlacePass):
    """Writes method, seed, L, s and version into `metadata_props`."""

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
        return ir.passes.PassResult(model, modified=True)
