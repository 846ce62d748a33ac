"""Plan files: what `haste tune` writes, a person edits, and `haste-export --plan` reads. TOML, one line per layer.

::

    default_level = 2

    [options]            # what the plan was made with; haste-export uses them unless told otherwise
    merge = "mean"

    [stay_conv]          # layers that stay Conv, each with the reason
    "conv_out" = "never gains"

    [hyperplanes]        # L at level 1, level 2, ...; 0 is dense
    "layer1.0.conv1" = [14, 10]

    [tau]                # error bound at level 1, level 2, ...; a layer that is not named has none
    "layer1.0.conv1" = [0.02, 0.05]

    [patch]              # a layer that is not named has the patch of [options]
    "layer1.0.conv1" = 7
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haste_export.errors import OptionError
from haste_export.io import write_text
from haste_export.options import Options
from haste_export.patches import checked
from haste_export.plan import LayerSetting, Plan

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OPTIONS = ("merge", "sparsity", "patch", "seed", "skip_first", "max_hyperplanes")
"""Options that a plan may carry: those that decide which hyperplanes its layers have."""

_TYPES = {"merge": str, "sparsity": float, "seed": int, "skip_first": int, "max_hyperplanes": int}

_TABLES = ("options", "stay_conv", "hyperplanes", "tau", "patch")


@dataclass(frozen=True)
class PlanFile:
    """A plan and the options it was made with.

    Attributes:
        plan: per-layer settings.
        options: a part of the fields of `Options`, by name.
        comments: sentences at the head of the file; comments elsewhere in it are for people only and not read.
    """

    plan: Plan
    options: Mapping[str, Any] = field(default_factory=dict)
    comments: Sequence[str] = ()

    @property
    def export_options(self) -> dict[str, Any]:
        """Fields of `Options` to export with; where few hyperplanes are stored, the default L is one of them."""
        most = self.options.get("max_hyperplanes", Options.max_hyperplanes)
        return {"hyperplanes": min(Options.hyperplanes, most), **self.options}

    def write(self, path: Path) -> None:
        """Write the file atomically. Raises OutputError when that fails, and OptionError as `text` does."""
        write_text(self.text(), path)

    def text(self) -> str:
        """The file's text. Raises OptionError if the levels name different layers, which a plan file cannot say."""
        levels = self.plan.levels
        layers = list(dict.fromkeys(name for level in levels for name in level))
        for number, level in enumerate(levels, 1):
            if missing := [name for name in layers if name not in level]:
                raise OptionError(f"level {number} of the plan does not name '{missing[0]}', and another level does")
        lines = [f"# {line}".rstrip() for comment in self.comments for line in comment.splitlines() or [""]]
        lines += ["", f"default_level = {self.plan.default_level}", "", "[options]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in self.options.items()]
        lines += ["", "[stay_conv]  # layers that stay Conv, and why"]
        lines += [f"{_quoted(name)} = {_quoted(reason)}" for name, reason in self.plan.stay_conv.items()]
        lines += ["", f"[hyperplanes]  # L at level {_numbered(len(levels))}; 0 is dense"]
        for name in layers:
            lines.append(f"{_quoted(name)} = {[level[name].hyperplanes for level in levels]}")
        if self.plan.bounds_error:
            lines += ["", f"[tau]  # error bound at level {_numbered(len(levels))}; 0 is none"]
            for name in layers:
                if any(level[name].tau for level in levels):
                    lines.append(f"{_quoted(name)} = {[level[name].tau for level in levels]}")
        if self.plan.patches:
            lines += ["", "[patch]  # p; a layer that is not named has the patch of [options]"]
            lines += [f"{_quoted(name)} = {patch}" for name, patch in self.plan.patches.items()]
        return "\n".join(lines).lstrip() + "\n"


def read_plan(path: Path) -> PlanFile:
    """Read a plan file.

    A name that ends in .json is read as `Plan.from_json` reads it. Raises OptionError, naming the place, when the file
    cannot be read, is not TOML, or says something that makes no sense.
    """
    if path.suffix == ".json":
        return PlanFile(Plan.from_json(path))
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read the plan {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is not a plan: {error}") from error
    if unknown := sorted(set(document) - {*_TABLES, "default_level"}):
        raise OptionError(f"{path}: a plan has no '{unknown[0]}'")
    for table in _TABLES:
        if not isinstance(document.get(table, {}), dict):
            raise OptionError(f"{path}: '{table}' must be a table, [{table}]")
    try:
        plan = _plan(document)
        options = {key: _option(key, value) for key, value in document.get("options", {}).items()}
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error
    except OverflowError as error:
        raise OptionError(f"{path}: a number in it is too large") from error
    return PlanFile(plan, options)


def _plan(document: Mapping[str, Any]) -> Plan:
    counts = {name: _row(name, values) for name, values in document.get("hyperplanes", {}).items()}
    taus = {name: _row(name, values) for name, values in document.get("tau", {}).items()}
    lengths = {len(values) for values in (*counts.values(), *taus.values())}
    if len(lengths) > 1:
        raise OptionError(f"all layers must have the same number of levels, and not {' and '.join(map(str, lengths))}")
    if extra := sorted(set(taus) - set(counts)):
        raise OptionError(f"[tau] names '{extra[0]}', and [hyperplanes] does not")
    pairs = {name: zip(values, taus.get(name, [0.0] * len(values)), strict=True) for name, values in counts.items()}
    rows = {name: [_setting(name, count, tau) for count, tau in pair] for name, pair in pairs.items()}
    levels = tuple({name: row[index] for name, row in rows.items()} for index in range(lengths.pop() if lengths else 0))
    stay = document.get("stay_conv", {})
    patches = document.get("patch", {})
    for table, names in (("hyperplanes", counts), ("patch", patches)):
        if both := sorted(set(stay) & set(names)):
            raise OptionError(f"'{both[0]}' is in [stay_conv] and in [{table}]")
    default = document.get("default_level", 1)
    if not isinstance(default, int):
        raise OptionError(f"default_level must be a number, not {default!r}")
    return Plan({name: str(reason) for name, reason in stay.items()}, levels, default, patches)


def _row(name: str, values: Any) -> list[Any]:
    row = values if isinstance(values, list) else [values]
    if not row or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in row):
        raise OptionError(f"'{name}' must have a number for each level, not {values!r}")
    return row


def _setting(name: str, count: float, tau: float) -> LayerSetting:
    if isinstance(count, float) and not count.is_integer():
        raise OptionError(f"'{name}' must have whole numbers of hyperplanes, not {count}")
    return LayerSetting(int(count), float(tau))


def _option(key: str, value: Any) -> Any:
    if key not in OPTIONS:
        raise OptionError(f"[options] has '{key}', which is none of {', '.join(OPTIONS)}")
    if key == "patch":
        return checked(value, "[options] patch")
    kind = _TYPES[key]
    if not isinstance(value, int if kind is int else (int, float) if kind is float else str):
        raise OptionError(f"[options] {key} = {value!r} is no {kind.__name__}")
    return kind(value)


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but TOML has no surrogate pairs and wants U+007F escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _numbered(levels: int) -> str:
    return ", ".join(str(level + 1) for level in range(levels)) or "1"
