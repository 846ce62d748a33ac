"""What the compiler's defaults lose, and for which time: `--patch auto` beside the paper's patch, over L."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from haste_export.contract import Merge
from haste_export.options import Options
from haste_export.patches import Patch
from haste_export.plan import LayerSetting
from tools.evidence.equal import Curve
from tools.evidence.measure import Measurement
from tools.evidence.settings import PATCH, Method, Setting, uniform

_PATCHES: tuple[Patch, ...] = (Options.patch, PATCH)
_DENSE = Setting("dense", LayerSetting(0))
"""Exact; what merging is worth beyond it is what a user pays accuracy for."""


def default_curves(measured: Measurement, sparsity: float, hyperplanes: Sequence[int]) -> Iterator[Curve]:
    """What `haste-export` makes by itself, then what else it could make: the other patch, with correction, `mean`.

    A model is made for the default L and steered to the others. Layers that the cost model leaves alone at that L
    stay Conv, as they do for a user; where there are any, the last curves have them compressed too.
    """
    counts = uniform(hyperplanes)
    kinds: tuple[tuple[Merge, bool], ...] = (("scaled", False), ("scaled", True), ("mean", True))
    for merge, corrected in kinds:
        for patch in _PATCHES:
            every = Method(merge, sparsity, patch)
            method = replace(every, corrected=corrected, stay=measured.left_alone(every))
            yield Curve(_name(method), method, counts if corrected else [_DENSE, *counts])
    for patch in _PATCHES:
        every = Method(Options.merge, sparsity, patch)
        if measured.left_alone(every):
            yield Curve(f"{_name(every)}, every layer", every, [_DENSE, *counts])


def selection(measured: Measurement, which: Sequence[Curve]) -> Mapping[str, str]:
    """How many layers are compressed, for the head of a table."""
    counts = {curve.name: len(measured.layers(curve.method.options(0))) for curve in which}
    listed = ", ".join(f"{count} ({name})" for name, count in counts.items())
    chosen = f"the cost model's choice at L = {Options.hyperplanes}, unless every layer is said"
    return {"layers compressed": f"{listed}; {chosen}"}


def _name(method: Method) -> str:
    return f"{method.merge}, patch {method.patch}{', corrected' * method.corrected}"
