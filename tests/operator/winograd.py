"""Winograd convolutions: their exact matrices, and what the rounding of one is relative to.

Along an axis, y = A^T [(G g) * (B^T d)] turns 3 taps g and n + 2 data d into n outputs y, n = 3 or 4. In exact
arithmetic that is the convolution. In floating point its error is relative to |A^T| [(|G| |g|) * (|B^T| |d|)] in place
of |g| * |d|. How the rows of A, G and B are scaled against each other changes neither, so what holds for the matrices
here holds for every such scaling. The direct sum is written the same way, with 3n products that no output shares: it
rounds relative to |g| * |d|. A two-dimensional form is any way along y with any way along x.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from haste_export.reference import Float64

TAPS = 3
POINTS = {3: (0, 1, -1, 2), 4: (0, 1, -1, 2, -2)}
"""Where F(n,3) evaluates its polynomials, beside infinity."""
TILINGS = {4: (4,), 5: (3, 3), 6: (3, 3), 7: (4, 3)}
"""Patches of a 3x3 kernel that are computed by F(n,3) along both axes, and the tiles they are cut into along each."""

Rationals = NDArray[np.object_]
"""Matrix of Fraction."""


@dataclass(frozen=True)
class Axis:
    """A one-dimensional convolution, and how often one path from its operands to a result rounds.

    output, kernel, data: A^T [n, products], G [products, 3], B^T [products, n+2].
    terms: products of one bucket that meet in one sum over the buckets.
    roundings: those of the three transforms.
    """

    output: Float64
    kernel: Float64
    data: Float64
    terms: int
    roundings: int

    @property
    def outputs(self) -> int:
        """Number of outputs, n."""
        return len(self.output)


@dataclass(frozen=True)
class Form:
    """A two-dimensional 3x3 convolution of a patch: its tiles along y and along x, and how each is computed."""

    y: tuple[Axis, ...]
    x: tuple[Axis, ...]

    def roundings(self, buckets: int) -> int:
        """Most roundings in a path from a bucket's filter and input to an output, summed over so many buckets."""
        return max(buckets * y.terms * x.terms + y.roundings + x.roundings for y in self.y for x in self.x)

    def magnitude(self, filters: Float64, inputs: Float64, patch: int) -> Float64:
        """Sum over the buckets of |A^T| [(|G| |g| |G^T|) * (|B^T| |d| |B|)] |A|, for sizes |g| and |d|.

        filters [C~, M, 9] and inputs [C~, (p+2)^2] give [M, p*p]. Tiles share no result. Each reads the piece of the
        window that starts at its own first output; where the last ones reach beyond the window they find zeros, and
        outputs beyond the patch are dropped.
        """
        buckets, outputs = filters.shape[:2]
        height, width = (sum(axis.outputs for axis in axes) for axes in (self.y, self.x))
        window = np.zeros((buckets, height + TAPS - 1, width + TAPS - 1))
        window[:, : patch + 2, : patch + 2] = inputs.reshape(buckets, patch + 2, patch + 2)
        whole = np.zeros((outputs, height, width))
        top = 0
        for y in self.y:
            left = 0
            for x in self.x:
                piece = window[:, top : top + y.outputs + 2, left : left + x.outputs + 2]
                g = np.abs(y.kernel) @ filters.reshape(buckets, outputs, TAPS, TAPS) @ np.abs(x.kernel).T
                d = np.abs(y.data) @ piece @ np.abs(x.data).T
                products = np.einsum("bmij,bij->mij", g, d)
                tile = np.abs(y.output) @ products @ np.abs(x.output).T
                whole[:, top : top + y.outputs, left : left + x.outputs] = tile
                left += x.outputs
            top += y.outputs
        return whole[:, :patch, :patch].reshape(outputs, patch * patch)

    @property
    def amplification(self) -> float:
        """Largest ratio of the magnitude to that of the direct sum, for filters and inputs all ones."""
        patch = sum(axis.outputs for axis in self.y)
        return float(self.magnitude(np.ones((1, 1, TAPS**2)), np.ones((1, (patch + 2) ** 2)), patch).max() / TAPS**2)


def toom_cook(outputs: int) -> tuple[Rationals, Rationals, Rationals]:
    """A^T, G and B^T of F(outputs, 3) over its points and infinity, exactly.

    A^T[i,j] = points[j]^i; G[j,k] = points[j]^k / prod_{i != j} (points[j] - points[i]); row j of B^T holds the
    coefficients of prod_{i != j} (z - points[i]). The point infinity adds the highest power to A and G, and
    prod_i (z - points[i]) to B.
    """
    points, size = POINTS[outputs], outputs + TAPS - 1
    a = [[Fraction(point) ** i for point in points] + [Fraction(int(i == outputs - 1))] for i in range(outputs)]
    g, b = [], []
    for j, point in enumerate(points):
        others = [other for i, other in enumerate(points) if i != j]
        scale = prod(point - other for other in others)
        g.append([Fraction(point) ** k / scale for k in range(TAPS)])
        b.append(_polynomial(others, size))
    g.append([Fraction(int(k == TAPS - 1)) for k in range(TAPS)])
    b.append(_polynomial(list(points), size))
    return np.array(a, object), np.array(g, object), np.array(b, object)


def _polynomial(roots: list[int], size: int) -> list[Fraction]:
    """Coefficients, lowest first, of the monic polynomial with these roots, filled up with zeros."""
    result = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *result]
        result = [high - root * low for high, low in zip(shifted, [*result, Fraction(0)], strict=True)]
    return result + [Fraction(0)] * (size - len(result))


@cache
def winograd(outputs: int) -> Axis:
    """F(outputs, 3)."""
    a, g, b = (matrix.astype(np.float64) for matrix in toom_cook(outputs))
    # In each of the three transforms: a rounded coefficient, its product, and the additions of a row.
    roundings = sum(2 + int((matrix != 0).sum(axis=1).max()) - 1 for matrix in (a, g, b))
    return Axis(a, g, b, terms=1, roundings=roundings)


@cache
def direct(outputs: int) -> Axis:
    """The plain sum: product (i, k) is tap k for output i, which reads element i + k."""
    data = np.array([np.eye(outputs + TAPS - 1)[i + k] for i in range(outputs) for k in range(TAPS)])
    output, kernel = np.repeat(np.eye(outputs), TAPS, axis=1), np.tile(np.eye(TAPS), (outputs, 1))
    return Axis(output, kernel, data, terms=TAPS, roundings=0)


def nested(tiling: tuple[int, ...]) -> Form:
    """F(n,3) along both axes. Tiles of 3x3 amplify by (73/9)^2 = 65.8, of 4x4 by 16^2 = 256."""
    axes = tuple(winograd(outputs) for outputs in tiling)
    return Form(axes, axes)


ALONG_Y = Form((winograd(3),), (direct(3),))
"""F(3,3) along y. It amplifies by 73/9 = 8.1; the direct sum by 1."""


def forms(kernel: tuple[int, int], patch: int) -> tuple[Form, ...]:
    """What may take the place of the direct sum."""
    if kernel != (TAPS, TAPS):
        return ()
    if patch == 3:
        return (ALONG_Y,)
    return (nested(TILINGS[patch]),) if patch in TILINGS else ()
