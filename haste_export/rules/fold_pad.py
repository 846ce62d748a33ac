"""Zeros that a Pad puts around the image of a Conv become the Conv's own padding."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriterContext

from haste_export.constants import Constants
from haste_export.rules.base import Rule, call, node_of


class FoldPad(Rule):
    """Conv(Pad(x)) -> Conv(x) with larger pads, for zeros around the spatial axes only."""

    def __init__(self, constants: Constants) -> None:
        super().__init__()
        self._constants = constants

    def pattern(self, op: Any) -> Any:
        """The Conv of a padded image that nothing else reads."""
        padded = op.Pad(_allow_other_inputs=True, _allow_other_attributes=True, _outputs=["pad_out"])
        return op.Conv(padded, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["conv_out"])

    def check(self, context: Any, pad_out: ir.Value, conv_out: ir.Value) -> MatchResult:
        """Refuse other padding than zeros around the image, and automatic pads, which depend on the padded size."""
        del context
        result = MatchResult()
        pad, conv = node_of(pad_out), node_of(conv_out)
        if conv.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            return result.fail(f"Conv '{conv.name}' pads automatically")
        if self._spatial_pads(pad) is None:
            return result.fail(f"Pad '{pad.name}' does more than put known numbers of zeros around the image")
        return result

    def rewrite(self, op: RewriterContext, pad_out: ir.Value, conv_out: ir.Value) -> ir.Value:
        """Add the pads up."""
        pad, conv = node_of(pad_out), node_of(conv_out)
        extra = self._spatial_pads(pad)
        assert extra is not None
        own = conv.attributes.get_ints("pads", [0] * len(extra))
        attributes = {name: value for name, value in conv.attributes.items() if name != "auto_pad"}
        attributes["pads"] = ir.AttrInt64s("pads", [a + b for a, b in zip(own, extra, strict=True)])
        return call(op, "Conv", pad.inputs[0], *conv.inputs[1:], _name=conv.name, **attributes)

    def _spatial_pads(self, pad: ir.Node) -> list[int] | None:
        """Pads of the spatial axes, begins then ends; None for any other kind of padding."""
        if pad.attributes.get_string("mode", "constant") != "constant" or len(pad.inputs) > 3:
            return None
        if len(pad.inputs) > 1:  # opset 11 and newer
            tensor = self._constants.tensor(pad.inputs[1])
            value = self._constants.scalar(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] is not None else 0.0
            pads = None if tensor is None else [int(count) for count in tensor.numpy().reshape(-1)]
        else:
            value = pad.attributes.get_float("value", 0.0)
            pads = list(pad.attributes.get_ints("pads", ()))
        if value != 0 or not pads:
            return None
        rank = len(pads) // 2
        begins, ends = pads[:rank], pads[rank:]
        around_image_only = not any((*begins[:2], *ends[:2]))
        return [*begins[2:], *ends[2:]] if around_image_only and min(pads) >= 0 else None
