"""Per-layer settings: which layers stay Conv, and the hyperplanes and error bound of the others at each level."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haste_export.contract import MAX_HYPERPLANES
from haste_export.errors import OptionError
from haste_export.patches import checked_number


@dataclass(frozen=True)
class LayerSetting:
    """What one layer uses at one level.

    `hyperplanes` is L; 0 keeps the layer a HasteConv that runs dense. `tau` is the error bound; 0 is unbounded.
    """

    hyperplanes: int
    tau: float = 0.0

    def __post_init__(self) -> None:
        """Raise OptionError outside 0 <= L <= 32 and tau >= 0."""
        if not 0 <= self.hyperplanes <= MAX_HYPERPLANES:
            raise OptionError(f"a plan's hyperplanes must be 0 to {MAX_HYPERPLANES}, not {self.hyperplanes}")
        if not 0 <= self.tau < float("inf"):
            raise OptionError(f"a plan's tau must be finite and not negative, not {self.tau}")


Level = Mapping[str, LayerSetting]


@dataclass(frozen=True)
class Plan:
    """Per-layer choices, by layer (Conv node) name.

    Attributes:
        stay_conv: layers that are not rewritten, each with the sentence that says why.
        levels: level 1, 2, ... of the steering input `haste_level`; level 0 is always dense. Empty: all layers share
            `haste_hyperplanes`. A layer that a level does not name uses the options' L and tau.
        default_level: the level when nothing is fed.
        patches: patches of single layers, in place of the options'.
    """

    stay_conv: Mapping[str, str] = field(default_factory=dict)
    levels: tuple[Level, ...] = ()
    default_level: int = 1
    patches: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise OptionError for a default that is no level, or a patch out of range."""
        for name, patch in self.patches.items():
            checked_number(patch, f"the patch of '{name}'")
        if self.levels and not 0 <= self.default_level <= len(self.levels):
            raise OptionError(f"the plan's default level {self.default_level} is not one of 0 to {len(self.levels)}")

    @classmethod
    def from_hyperplanes(cls, hyperplanes: Mapping[str, int | None]) -> Plan:
        """One level from a mapping of layer name to L: 0 stays a dense HasteConv, None stays a Conv."""
        settings = {name: LayerSetting(count) for name, count in hyperplanes.items() if count is not None}
        return cls(
            stay_conv={name: "the plan keeps it" for name, count in hyperplanes.items() if count is None},
            levels=(settings,) if settings else (),
        )

    @classmethod
    def from_json(cls, path: Path) -> Plan:
        """Read `{"stay_conv": [...], "levels": [{layer: {"hyperplanes": L, "tau": t}}], "default_level": 1}`.

        `stay_conv` may also map each name to a reason, and a layer may be given as a bare L. `"patch": {layer: p}` may
        stand beside them.
        Raises OptionError if the file cannot be read or has another form.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if unknown := sorted(document.keys() - {"stay_conv", "levels", "default_level", "patch"}):
                raise OptionError(f"{path}: a plan has no '{unknown[0]}'")
            stay = document.get("stay_conv", [])
            levels = tuple(
                {name: _setting(value) for name, value in level.items()} for level in document.get("levels", [])
            )
            return cls(
                stay_conv=dict(stay) if isinstance(stay, dict) else dict.fromkeys(stay, "the plan keeps it"),
                levels=levels,
                default_level=int(document.get("default_level", 1)),
                patches=dict(document.get("patch", {})),
            )
        except OSError as error:
            raise OptionError(f"cannot read the plan {path}: {error.strerror or error}") from error
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, OptionError):
                raise
            raise OptionError(f"{path} is not a plan: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The form that `from_json` reads."""
        return {
            "stay_conv": dict(self.stay_conv),
            "levels": [
                {name: {"hyperplanes": setting.hyperplanes, "tau": setting.tau} for name, setting in level.items()}
                for level in self.levels
            ],
            "default_level": self.default_level,
            "patch": dict(self.patches),
        }

    def check_names(self, layers: Iterable[str]) -> None:
        """Raise OptionError if the plan names a layer that is not in `layers`."""
        known = set(layers)
        named = set(self.stay_conv).union(self.patches, *self.levels)
        if unknown := sorted(named - known):
            raise OptionError(f"the plan names '{unknown[0]}', and the model has no such Conv")

    def setting(self, layer: str, otherwise: LayerSetting) -> LayerSetting:
        """What a layer uses at the default level; `otherwise` where the plan does not say."""
        if not self.levels:
            return otherwise
        if self.default_level == 0:
            return LayerSetting(0)
        return self.levels[self.default_level - 1].get(layer, otherwise)

    @property
    def bounds_error(self) -> bool:
        """Whether some layer has an error bound."""
        return any(setting.tau > 0 for level in self.levels for setting in level.values())


def _setting(value: Any) -> LayerSetting:
    if isinstance(value, dict):
        return LayerSetting(int(value["hyperplanes"]), float(value.get("tau", 0.0)))
    return LayerSetting(int(value))
