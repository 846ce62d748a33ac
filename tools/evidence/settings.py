"""What is compared: a method, and how far it goes at each setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haste_export.contract import Merge
from haste_export.options import Options
from haste_export.patches import Patch
from haste_export.plan import LayerSetting, Plan
from haste_export.plan_file import read_plan

MERGES: tuple[Merge, ...] = ("mean", "scaled")
LARGEST_L = 32
PATCH = 3
"""Of all tables that are not about patches, whatever the compiler's default: the paper's."""


@dataclass(frozen=True)
class Method:
    """Everything about a compression but L, τ and the seed.

    Attributes:
        merge: "mean", "scaled" or "norm".
        sparsity: share of zeros in the hyperplanes.
        patch: p, or "auto".
        patches: p of single layers, by name, where a plan gives it.
        corrected: whether gain and bias of every layer are corrected on unlabelled images.
        synthetic: whether the images for that are synthetic, so that no data is needed.
        stay: layers that stay Conv.
        planes: how hyperplanes are chosen, a name in planes.py; "" is the product's way.
    """

    merge: Merge = "mean"
    sparsity: float = Options.sparsity
    patch: Patch = PATCH
    patches: tuple[tuple[str, int], ...] = ()
    corrected: bool = False
    synthetic: bool = False
    stay: tuple[str, ...] = ()
    planes: str = ""

    def options(self, seed: int, tau: float = 0.0) -> Options:
        """For the compiler; a `tau` above zero gives every layer an input for it."""
        exclude = tuple(self.stay)
        return Options(
            merge=self.merge, sparsity=self.sparsity, patch=self.patch, seed=seed, tau=tau, exclude=exclude,
            hyperplanes=LARGEST_L, max_hyperplanes=LARGEST_L, plan=Plan(patches=dict(self.patches)),
        )  # fmt: skip

    def key(self) -> dict[str, Any]:
        """For the store."""
        key = {"merge": self.merge, "sparsity": round(self.sparsity, 4), "patch": self.patch, "stay": list(self.stay)}
        further: dict[str, Any] = {"corrected": self.corrected, "synthetic": self.synthetic, "planes": self.planes}
        further["patches"] = dict(self.patches)
        return {**key, **{name: value for name, value in further.items() if value}}


@dataclass(frozen=True)
class Setting:
    """One point of a method's curve.

    Attributes:
        name: in tables.
        uniform: L and τ of every layer that `layers` does not name.
        layers: settings of single layers.
    """

    name: str
    uniform: LayerSetting
    layers: Mapping[str, LayerSetting] = field(default_factory=dict)

    def level(self, names: Iterable[str]) -> dict[str, LayerSetting]:
        """Layer name -> setting."""
        return {name: self.layers.get(name, self.uniform) for name in names}

    @property
    def bounded(self) -> bool:
        """Whether any layer has an error bound."""
        return any(setting.tau > 0 for setting in (self.uniform, *self.layers.values()))

    def key(self) -> dict[str, Any]:
        """For the store."""
        layers = {name: [setting.hyperplanes, setting.tau] for name, setting in self.layers.items()}
        return {"L": self.uniform.hyperplanes, "tau": self.uniform.tau, **({"layers": layers} if layers else {})}


def uniform(counts: Sequence[int], tau: float = 0.0) -> list[Setting]:
    """The same L, and τ, in every layer."""
    bound = f", τ = {tau:g}" if tau else ""
    return [Setting(f"L = {count}{bound}", LayerSetting(count, tau)) for count in counts]


def from_plan(path: Path) -> tuple[Method, list[Setting]]:
    """The levels of a plan of `haste tune`; the plan's seed is not kept, because three seeds are measured anyway."""
    file = read_plan(path)
    options, plan = file.options, file.plan
    method = Method(
        options.get("merge", Options.merge),
        options.get("sparsity", Options.sparsity),
        options.get("patch", Options.patch),
        tuple(plan.patches.items()),
        stay=tuple(plan.stay_conv),
    )
    levels = enumerate(plan.levels, 1)
    return method, [Setting(f"level {place}", LayerSetting(0), dict(level)) for place, level in levels]
