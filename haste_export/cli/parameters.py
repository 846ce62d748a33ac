"""Types and callbacks of options and arguments, which say in a sentence what a value must be."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from haste_export.errors import OptionError
from haste_export.patches import AUTO, Patch, checked

Function = TypeVar("Function", bound=Callable[..., Any])


class ModelPath(click.Path):
    """The path of a model, from whose name others are derived; who reads it tells whether it is there."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a directory, and the empty text, which would be the current one."""
        if not str(value):
            self.fail("the name of the model is empty", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.is_dir():
            self.fail(f"{path} is a directory, not a model", param, ctx)
        return path


def patch_option(function: Function) -> Function:
    """Add --patch to a command, passed as `patch`."""
    about = (
        f"A patch is P x P output pixels; {AUTO}: for 3x3 convolutions 4, 6 or 7, whichever takes the fewest products "
        "at the size of the layer's output, and 3 for others."
    )
    option = click.option(
        "--patch", callback=_read_patch, default=AUTO, show_default=True, metavar=f"{AUTO}|P", help=about
    )
    return option(function)


def _read_patch(ctx: click.Context, param: click.Parameter, text: str) -> Patch:
    try:
        return checked(int(text) if text.isdecimal() else text)
    except OptionError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def numbers(least: int) -> Callable[[click.Context, click.Parameter, str | None], list[int] | None]:
    """Make an option callback that reads comma-separated integers, none below `least`."""

    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> list[int] | None:
        if text is None:
            return None
        try:
            values = [int(part) for part in text.split(",")]
        except ValueError:
            raise click.BadParameter(f"{text!r} is no list of numbers such as 1,2", ctx, param) from None
        if min(values) < least:
            raise click.BadParameter(f"{min(values)} is below {least}", ctx, param)
        return values

    return read


def decimals(
    above: float = -math.inf, below: float = math.inf
) -> Callable[[click.Context, click.Parameter, str | None], tuple[float, ...] | None]:
    """Make an option callback that reads comma-separated numbers, all strictly between `above` and `below`."""

    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[float, ...] | None:
        if text is None:
            return None
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            raise click.BadParameter(f"{text!r} is no list of numbers such as 0.5,0.5", ctx, param) from None
        for value in values:
            if not above < value < below:  # false for NaN as well
                raise click.BadParameter(f"{value:g} is not {_between(above, below)}", ctx, param)
        return values

    return read


def not_negative(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Option callback: a finite number from 0."""
    if value is not None and not 0 <= value < math.inf:
        raise click.BadParameter(f"{value:g} is not a number from 0 on", ctx, param)
    return value


def _between(above: float, below: float) -> str:
    if math.isinf(below):
        return "a finite number" if math.isinf(above) else f"a finite number above {above:g}"
    return f"a number between {above:g} and {below:g}"
