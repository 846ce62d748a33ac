"""Winograd convolutions: their exact matrices, and what the rounding of one is relative to.

Along an axis, y = A^T [(G g) * (B^T d)] turns 3 taps g and 5 data d into 3 outputs y. In exact arithmetic that is the
convolution. In floating point its error is relative to |A^T| [(|G| |g|) * (|B^T| |d|)] in place of |g| * |d|. How the
rows of A, G and B are scaled against each other changes neither, so what holds for the matrices here holds for
every such scaling. The direct sum is written the same way, with 9 products that no output shares: it rounds relative to
|g| * |d|, and a two-dimensional form is any pair of axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

from haste_export.reference import Float64

OUTPUTS, TAPS = 3, 3
SIZE = OUTPUTS + TAPS - 1
"""Data that one application along an axis reads."""
POINTS = (0, 1, -1, 2)
"""Where F(3,3) evaluates its polynomials, beside infinity."""

Rationals = NDArray[np.object_]
"""Matrix of Fraction."""


@dataclass(frozen=True)
class Axis:
    """A one-dimensional convolution, and how often one path from its operands to a result rounds.

    output, kernel, data: A^T [3, products], G [products, 3], B^T [products, 5].
    terms: products of one bucket that meet in one sum over the buckets.
    roundings: those of the three transforms.
    """

    output: Float64
    kernel: Float64
    data: Float64
    terms: int
    roundings: int


@dataclass(frozen=True)
class Form:
    """A two-dimensional 3x3 convolution: one way along y, one along x, in subtiles of 3x3 outputs."""

    y: Axis
    x: Axis

    def roundings(self, buckets: int) -> int:
        """Most roundings in a path from a bucket's filter and input to an output, summed over so many buckets."""
        return buckets * self.y.terms * self.x.terms + self.y.roundings + self.x.roundings

    def magnitude(self, filters: Float64, inputs: Float64, patch: int) -> Float64:
        """Sum over the buckets of |A^T| [(|G| |g| |G^T|) * (|B^T| |d| |B|)] |A|, for sizes |g| and |d|.

        filters [C~, M, 9] and inputs [C~, (p+2)^2] give [M, p*p]. A patch is cut into subtiles of 3x3 outputs, which
        share no result. Each reads the 5x5 piece of the window that starts at its own first output; where the
        last pieces reach beyond the window they are filled with zeros, and outputs beyond the patch are dropped.
        """
        buckets, outputs = filters.shape[:2]
        count = -(-patch // OUTPUTS)
        missing = OUTPUTS * count - patch
        window = np.pad(inputs.reshape(buckets, patch + 2, patch + 2), ((0, 0), (0, missing), (0, missing)))
        views = np.lib.stride_tricks.sliding_window_view(window, (SIZE, SIZE), axis=(1, 2))
        pieces = views[:, ::OUTPUTS, ::OUTPUTS].reshape(buckets, count * count, SIZE, SIZE)
        g = np.abs(self.y.kernel) @ filters.reshape(buckets, outputs, TAPS, TAPS) @ np.abs(self.x.kernel).T
        d = np.abs(self.y.data) @ pieces @ np.abs(self.x.data).T
        products = g.transpose(2, 3, 1, 0) @ d.transpose(2, 3, 0, 1)  # [product along y, along x, M, subtile]
        y = np.abs(self.y.output) @ products.transpose(2, 3, 0, 1) @ np.abs(self.x.output).T
        tiled = y.reshape(outputs, count, count, OUTPUTS, OUTPUTS).transpose(0, 1, 3, 2, 4)
        whole: Float64 = tiled.reshape(outputs, OUTPUTS * count, OUTPUTS * count)[:, :patch, :patch]
        return whole.reshape(outputs, patch * patch)

    @property
    def amplification(self) -> float:
        """Largest ratio of the magnitude to that of the direct sum, for filters and inputs all ones."""
        return float(self.magnitude(np.ones((1, 1, TAPS * TAPS)), np.ones((1, SIZE * SIZE)), OUTPUTS).max() / TAPS**2)


def toom_cook() -> tuple[Rationals, Rationals, Rationals]:
    """A^T, G and B^T of F(3,3) over POINTS and infinity, exactly.

    A^T[i,j] = points[j]^i; G[j,k] = points[j]^k / prod_{i != j} (points[j] - points[i]); row j of B^T holds the
    coefficients of prod_{i != j} (z - points[i]). The point infinity adds the highest power to A and G, and
    prod_i (z - points[i]) to B.
    """
    a = [[Fraction(point) ** i for point in POINTS] + [Fraction(int(i == OUTPUTS - 1))] for i in range(OUTPUTS)]
    g, b = [], []
    for j, point in enumerate(POINTS):
        others = [other for i, other in enumerate(POINTS) if i != j]
        scale = prod(point - other for other in others)
        g.append([Fraction(point) ** k / scale for k in range(TAPS)])
        b.append(_polynomial(others))
    g.append([Fraction(int(k == TAPS - 1)) for k in range(TAPS)])
    b.append(_polynomial(list(POINTS)))
    return np.array(a, object), np.array(g, object), np.array(b, object)


def _polynomial(roots: list[int]) -> list[Fraction]:
    """Coefficients, lowest first, of the monic polynomial with these roots, filled up with zeros."""
    result = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *result]
        result = [high - root * low for high, low in zip(shifted, [*result, Fraction(0)], strict=True)]
    return result + [Fraction(0)] * (SIZE - len(result))


def _winograd_axis() -> Axis:
    a, g, b = (matrix.astype(np.float64) for matrix in toom_cook())
    # In each of the three transforms: a rounded coefficient, its product, and the additions of a row.
    roundings = sum(2 + int((matrix != 0).sum(axis=1).max()) - 1 for matrix in (a, g, b))
    return Axis(a, g, b, terms=1, roundings=roundings)


def _direct_axis() -> Axis:
    """Product (i, k) is tap k for output i, which reads element i + k."""
    outputs, taps = np.eye(OUTPUTS), np.eye(TAPS)
    data = np.array([np.eye(SIZE)[i + k] for i in range(OUTPUTS) for k in range(TAPS)])
    return Axis(np.repeat(outputs, TAPS, axis=1), np.tile(taps, (OUTPUTS, 1)), data, terms=TAPS, roundings=0)


WINOGRAD, DIRECT = _winograd_axis(), _direct_axis()
ALONG_Y = Form(WINOGRAD, DIRECT)
"""F(3,3) along y over 0, 1, -1, 2 and infinity. It amplifies by 73/9 = 8.1; the direct sum by 1."""
NESTED = Form(WINOGRAD, WINOGRAD)
"""The same along both axes: 25 products for a subtile. It amplifies by (73/9)^2 = 65.8."""


def forms(kernel: tuple[int, int], patch: int) -> tuple[Form, ...]:
    """What may take the place of the direct sum."""
    if kernel != (TAPS, TAPS):
        return ()
    if patch == OUTPUTS:
        return (ALONG_Y,)
    return (NESTED,) if OUTPUTS < patch <= 2 * OUTPUTS else ()
