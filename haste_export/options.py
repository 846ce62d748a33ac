"""What a user can choose about a compression."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from haste_export.contract import MAX_HYPERPLANES, MERGES, Merge
from haste_export.errors import OptionError
from haste_export.patches import AUTO, Patch, checked, patch_of
from haste_export.plan import Plan

SELECTIONS = ("model", "measured", "all")
WEIGHTS = ("packed", "fp16", "oihw")
Isa = Literal["auto", "avx512", "avx2", "neon", "generic"]
ISAS: tuple[Isa, ...] = get_args(Isa)


@dataclass(frozen=True)
class Options:
    """Options of one compression; invalid values raise OptionError.

    Attributes:
        hyperplanes: L used when nothing is fed to the steering input; 0 is dense.
        max_hyperplanes: hyperplanes stored per layer, the largest L that can be fed.
        sparsity: share s of zeros in the hyperplanes, 0 <= s < 1.
        merge: "scaled", "mean" or "norm".
        patch: p, a patch being p x p output pixels; "auto" chooses for every layer (`haste_export.patches`). The plan
            may say otherwise for single layers.
        seed: seed of the hyperplanes.
        tau: error bound of the merges `scaled` and `norm`; 0 is unbounded.
        skip_first: how many convolutions at the front stay as they are.
        include: layer names or `re:PATTERN`; if any, only layers that match one are rewritten.
        exclude: layer names or `re:PATTERN` that stay as they are.
        input_shapes: fixed shapes for graph inputs, by name; dimensions of the written model become static.
        weights: "packed" for the kernel's own layout (no copy at load), "fp16" for that in float16, "oihw" as in Conv.
        layout: "blocked" keeps chains of HasteConv in the blocked layout, "nchw" never does.
        plan: per-layer settings.
        select: which of the convolutions that qualify are rewritten: "model", those that the cost model predicts to
            gain; "measured", those that gain on this machine; "all". A layer with a level in the plan is not predicted.
        isa: instruction set to predict for; "auto" is that of the op library on this machine.
        stats: whether the model gives out its layers' statistics, as further outputs `haste_stats/NAME`.
    """

    hyperplanes: int = 14
    max_hyperplanes: int = MAX_HYPERPLANES
    sparsity: float = 0.5
    merge: Merge = "scaled"
    patch: Patch = AUTO
    seed: int = 0
    tau: float = 0.0
    skip_first: int = 1
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: Literal["packed", "fp16", "oihw"] = "packed"
    layout: Literal["blocked", "nchw"] = "blocked"
    plan: Plan = field(default_factory=Plan)
    select: Literal["model", "measured", "all"] = "model"
    isa: Isa = "auto"
    stats: bool = False

    def __post_init__(self) -> None:
        """Raise OptionError for the first value out of range."""
        _require(
            1 <= self.max_hyperplanes <= MAX_HYPERPLANES,
            f"max_hyperplanes must be 1 to {MAX_HYPERPLANES}, not {self.max_hyperplanes}",
        )
        _require(
            0 <= self.hyperplanes <= self.max_hyperplanes,
            f"hyperplanes must be 0 to {self.max_hyperplanes}, not {self.hyperplanes}",
        )
        for level in self.plan.levels:
            for name, setting in level.items():
                _require(
                    setting.hyperplanes <= self.max_hyperplanes,
                    f"the plan gives '{name}' {setting.hyperplanes} hyperplanes, and {self.max_hyperplanes} are stored",
                )
        _require(0 <= self.sparsity < 1, f"sparsity must be at least 0 and below 1, not {self.sparsity}")
        _require(self.merge in MERGES, f"merge must be one of {', '.join(MERGES)}, not '{self.merge}'")
        checked(self.patch)
        _require(self.seed >= 0, f"seed must not be negative, but is {self.seed}")
        _require(0 <= self.tau < float("inf"), f"tau must be finite and not negative, not {self.tau}")
        _require(
            self.tau == 0 or self.merge != "mean",
            "tau bounds the merges 'scaled' and 'norm'; it has no effect on merge 'mean'",
        )
        _require(self.skip_first >= 0, f"skip_first must not be negative, but is {self.skip_first}")
        _require(self.weights in WEIGHTS, f"weights must be one of {', '.join(WEIGHTS)}, not '{self.weights}'")
        _require(self.layout in ("blocked", "nchw"), f"layout must be 'blocked' or 'nchw', not '{self.layout}'")
        _require(self.select in SELECTIONS, f"select must be one of {', '.join(SELECTIONS)}, not '{self.select}'")
        _require(self.isa in ISAS, f"isa must be one of {', '.join(ISAS)}, not '{self.isa}'")
        for name, shape in self.input_shapes.items():
            _require(all(dim >= 1 for dim in shape), f"the shape of input '{name}' must be positive, not {list(shape)}")
        for text in (*self.include, *self.exclude):
            _matcher(text)

    def patch_of(self, layer: str, kernel: Sequence[int], height: int | None, width: int | None) -> int:
        """The patch of a layer with this kernel and output size; the plan has the last word."""
        planned = self.plan.patches.get(layer)
        return patch_of(self.patch, kernel, height, width) if planned is None else planned

    def to_json(self) -> dict[str, Any]:
        """All options as JSON values."""
        values = {key: value for key, value in vars(self).items() if key not in ("plan", "input_shapes")}
        shapes = {name: list(shape) for name, shape in self.input_shapes.items()}
        lists = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return {**lists, "input_shapes": shapes, "plan": self.plan.to_json()}


class NameFilter:
    """Decides by name which layers are wanted, from `--include` and `--exclude`."""

    def __init__(self, options: Options, names: Iterable[str]) -> None:
        """Raise OptionError if an include or exclude matches none of `names`."""
        known = list(names)
        self._include = {text: _matcher(text) for text in options.include}
        self._exclude = {text: _matcher(text) for text in options.exclude}
        for flag, matchers in (("include", self._include), ("exclude", self._exclude)):
            for text, matcher in matchers.items():
                _require(any(map(matcher.fullmatch, known)), f"--{flag} {text} matches no Conv of the model")

    def refusal(self, name: str) -> str | None:
        """Why the layer `name` is not wanted, or None if it is."""
        if self._include and not any(matcher.fullmatch(name) for matcher in self._include.values()):
            return "no --include matches it"
        for text, matcher in self._exclude.items():
            if matcher.fullmatch(name):
                return f"--exclude {text} matches it"
        return None


def _matcher(text: str) -> re.Pattern[str]:
    if not text.startswith("re:"):
        return re.compile(re.escape(text))
    try:
        return re.compile(f".*(?:{text[3:]}).*", re.DOTALL)
    except re.error as error:
        raise OptionError(f"'{text}' is not a regular expression: {error}") from error


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise OptionError(sentence)
