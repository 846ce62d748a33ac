"""Whether hashing pays: the L asked for against dense mode, L = 0, which merges nothing and so loses nothing."""

from __future__ import annotations

from collections.abc import Sequence

from haste_export.options import Options
from haste_export.report import DenseSpeed
from haste_export.speed.network import Layer

PREDICTED_MARGIN = 1.12
"""How much faster than dense mode hashing must be predicted to be called so: the usual margin, and what constants that
were fitted to lone layers promise too much for layers in a network (docs/cost-model.md, "Against dense mode")."""


def is_comparable(options: Options) -> bool:
    """Whether one L above 0 is asked for; levels of a plan are choices of whoever made it, who could choose dense."""
    return options.hyperplanes > 0 and not options.plan.levels


def predicted_dense(layers: Sequence[Layer]) -> DenseSpeed | None:
    """Of layers that become HasteConvs, without conversions, which are the same in both; None if there are none."""
    haste, dense = sum(layer.haste for layer in layers), sum(layer.dense for layer in layers)
    if not layers:
        return None
    return DenseSpeed("model", haste / 1e6, dense / 1e6, dense / haste, dense >= PREDICTED_MARGIN * haste)
