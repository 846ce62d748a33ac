"""The patch of a layer: p x p output pixels are computed together, from the same merged channels (docs/method.md).

It is asked for as a number, which holds for every layer, or as "auto": a choice for each layer by its kernel and the
size of its output. The kernels compute patches of 3x3 convolutions in tiles (haste_export/speed/tiling.py), so what
counts there is how well tiles cover the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from haste_export import contract
from haste_export.errors import OptionError
from haste_export.speed.tiling import tiling

Patch = int | Literal["auto"]
AUTO: Final = "auto"
LARGEST: Final = 16

_TILED = (3, 3)
_OPEN = 7  # where the output's size is not known: the fewest products per pixel of a large output
_SMALLEST = 4  # one tile: larger outputs would need many small patches, each with a merge of its own
_CANDIDATES = (_SMALLEST, 6, 7)


def checked(value: object, name: str = "patch") -> Patch:
    """The value as a patch. Raises OptionError, beginning with `name`, for anything but "auto" and 1 to 16."""
    return AUTO if value == AUTO else checked_number(value, name, f"{AUTO} or ")


def checked_number(value: object, name: str, otherwise: str = "") -> int:
    """The same without "auto"; `otherwise` is what else the sentence allows."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise OptionError(f"{name} must be {otherwise}1 to {LARGEST}, not {value!r}")
    return value


def patch_of(asked: Patch, kernel: Sequence[int], height: int | None, width: int | None) -> int:
    """The patch of a layer with this kernel and this output; None is a size that is not known."""
    return asked if isinstance(asked, int) else choose(kernel, height, width)


def choose(kernel: Sequence[int], height: int | None, width: int | None) -> int:
    """What "auto" means: of a 3x3 kernel the patch with the fewest products, and of equals the smaller.

    A smaller patch merges more channels. Other kernels have no tiles, so their patch is the operator's default.
    """
    if tuple(kernel) != _TILED:
        return contract.PATCH
    if height is None or width is None:
        return _OPEN
    fitting = [patch for patch in _CANDIDATES if patch != _SMALLEST or max(height, width) <= _SMALLEST]
    return min(fitting, key=lambda patch: _points(height, patch) * _points(width, patch))


def _points(size: int, patch: int) -> int:
    """Points of all tiles along an axis of the output; products per bucket and output channel are of both axes'."""
    tiles = tiling(_TILED, patch)
    assert tiles is not None
    whole, rest = divmod(size, patch)
    return whole * tiles.points(patch) + tiles.points(rest)
