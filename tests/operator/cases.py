"""Random HasteConv problems, each fully described by one printable line.

A failing test prints the one line that reproduces it, see `reproduction`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from haste_export.contract import MERGES
from haste_export.reference import Float32, Geometry, HasteResult, Labels, Pads, haste_conv, windows
from tests.operator import native
from tests.operator.c_api import ConvOptions, Output

CHANNELS = (1, 2, 3, 15, 16, 17, 31, 33, 48, 64)
OUTPUTS = (1, 15, 16, 17, 20, 33)
PATCHES = (3, 4, 5, 6, 7)
"""Where 3x3 kernels have code paths of their own: along y, and along both axes in one tile or two by two."""
KERNELS = ((1, 1), (3, 3), (5, 5), (7, 7), (1, 3), (3, 1), (2, 2), (5, 3))
ACTIVATIONS = {
    "": (),
    "Relu": (),
    "LeakyRelu": (0.1,),
    "Clip": (-0.5, 1.25),
    "HardSwish": (),
    "Silu": (),
    "Sigmoid": (),
}
ORDINARY = ("normal", "relu", "equal", "scaled")
"""Data on which float32 and float64 agree about what is zero, so that all statistics can be compared exactly."""
KINDS = (*ORDINARY, "close", "integers", "zeros", "denormal", "huge", "special")


def draw_values(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Float32:
    """Activations [N,C,H,W] of a kind; every kind is there because it is where a hash or a merge may go wrong."""
    x = rng.standard_normal(shape).astype(np.float32)
    channels = shape[1]
    if kind == "relu":  # as behind a Relu: half of the pixels and some whole channels are zero
        x = np.maximum(x, 0) * (rng.random((1, channels, 1, 1)) < 0.8).astype(np.float32)
    elif kind == "equal":  # channels that repeat must always share a bucket
        x = x[:, rng.integers(0, max(1, channels // 4), channels)]
    elif kind == "scaled":  # the same up to a positive factor: the hash does not see it, `scaled` must restore it
        factors = np.exp(rng.standard_normal((1, channels, 1, 1))).astype(np.float32)
        x = x[:, rng.integers(0, max(1, channels // 4), channels)] * factors
    elif kind == "close":  # channels equal up to the last bit: each bit of a code hangs on the order of additions
        x = x[:, :1] * (1 + rng.integers(-1, 2, shape) * 2.0**-23).astype(np.float32)
    elif kind == "integers":  # exact sums: projections that equal their mean, buckets that cancel to zero
        x = rng.integers(-2, 3, shape).astype(np.float32)
    elif kind == "zeros":
        x = np.where(rng.random(shape) < 0.5, np.float32(0), np.float32(-0.0))
    elif kind == "denormal":
        x *= np.float32(1e-42)
    elif kind == "huge":  # sums overflow to infinity, differences of infinities are NaN
        x = np.clip(x, -3, 3) * np.float32(1e38)
    elif kind == "special":
        specials = np.array([0, -0.0, 1e-45, -1e-42, 3e38, -3e38, np.inf, -np.inf, np.nan], np.float32)
        x = np.where(rng.random(shape) < 0.02, rng.choice(specials, shape), x)
    return np.ascontiguousarray(x, np.float32)


@dataclass(frozen=True)
class Case:
    """One HasteConv and one input. `groups` is how many labels a given grouping draws from; 0: hash codes instead."""

    batch: int = 1
    channels: int = 16
    outputs: int = 16
    height: int = 7
    width: int = 7
    kernel: tuple[int, int] = (3, 3)
    pads: Pads = (1, 1, 1, 1)
    patch: int = 3
    count: int = 6
    kind: str = "normal"
    seed: int = 0
    merge_how: str = "scaled"
    tau: float = 0.0
    activation: str = ""
    residual: bool = False
    w_layout: str = "OIHW"
    w_type: str = "float32"
    x_layout: str = "NCHW"
    z_layout: str = "NCHW"
    y_layout: str = "NCHW"
    groups: int = 0

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.height, self.width, *self.kernel, self.pads, self.patch)

    @property
    def patches(self) -> int:
        n_h, n_w = self.geometry.grid
        return n_h * n_w

    @property
    def options(self) -> ConvOptions:
        return ConvOptions(
            self.pads,
            self.patch,
            self.merge_how,
            self.activation,
            ACTIVATIONS[self.activation],
            self.w_layout,
            self.w_type,
            self.x_layout,
            self.z_layout,
            self.y_layout,
        )

    def fits(self) -> bool:
        try:
            return bool(self.geometry.patch)
        except ValueError:
            return False


@dataclass(frozen=True)
class Problem:
    """The tensors of a case."""

    case: Case
    x: Float32
    weights: Float32
    bias: Float32
    hyperplanes: NDArray[np.int8]
    residual: Float32 | None
    labels: Labels | None

    def reference(self) -> HasteResult:
        case = self.case
        return haste_conv(
            self.x,
            self.weights,
            self.bias,
            self.hyperplanes,
            case.count,
            residual=self.residual,
            tau=float(np.float32(case.tau)),
            pads=case.pads,
            patch=case.patch,
            merge_how=case.merge_how,
            activation=case.activation,
            activation_params=tuple(float(np.float32(value)) for value in ACTIVATIONS[case.activation]),
            labels=self.labels,
        )

    def native_conv(self) -> native.Conv:
        return native.Conv(self.weights, self.bias, self.hyperplanes, self.case.options)

    def native_run(self, conv: native.Conv, parallel: native.ParallelFor | None = None) -> Output:
        case = self.case
        return conv.run(self.x, case.count, tau=case.tau, residual=self.residual, labels=self.labels, parallel=parallel)

    def windows(self) -> Float32:
        return windows(self.x, self.case.geometry)


def build(case: Case) -> Problem:
    """Draw the tensors of a case from its seed. The largest L is one more than the one in use, where 32 allows it."""
    rng = np.random.default_rng(case.seed)
    geometry = case.geometry
    q_h, q_w = geometry.window
    x = draw_values(rng, case.kind, (case.batch, case.channels, case.height, case.width))
    fan_in = case.channels * case.kernel[0] * case.kernel[1]
    weights = (rng.standard_normal((case.outputs, case.channels, *case.kernel)) / np.sqrt(fan_in)).astype(np.float32)
    weights = weights.astype(case.w_type).astype(np.float32)  # what is stored is what is meant
    bias = rng.standard_normal(case.outputs).astype(np.float32)
    rows = min(32, max(case.count, 0) + 1)
    sparsity = rng.choice([0.0, 0.5, 2 / 3, 0.95])  # at .95 a small window's hyperplane may be all zero
    signs = rng.choice(np.array([-1, 1], np.int8), (rows, q_h * q_w))
    hyperplanes = np.where(rng.random(signs.shape) < sparsity, np.int8(0), signs).astype(np.int8)
    residual = labels = None
    if case.residual:
        shape = (case.batch, case.outputs, geometry.out_h, geometry.out_w)
        residual = rng.standard_normal(shape).astype(np.float32)
    if case.groups:
        names = rng.integers(0, 2**32, case.groups, dtype=np.uint32)  # labels are names, not numbers from zero
        labels = names[rng.integers(0, case.groups, (case.batch, case.patches, case.channels))]
    return Problem(case, x, weights, bias, hyperplanes, residual, labels)


@contextmanager
def reproduction(check: Callable[..., None], case: Case, backend: object = None) -> Iterator[None]:
    """Add the line that reproduces it to whatever fails inside; with HASTE_TRACE=1 show it before, for what crashes.

    `backend`: one of tests.operator.backends, where `check` takes one.
    """
    imports = f"from tests.operator.cases import Case; from {check.__module__} import {check.__name__} as check"
    arguments = str(case).replace("'", '"')
    if backend is not None:
        imports += "; from tests.operator.backends import backend"
        arguments += f', backend("{backend}")'
    line = f"reproduce: python -c '{imports}; check({arguments})'"
    if os.environ.get("HASTE_TRACE"):
        os.write(2, f"{line}\n".encode())  # straight to the descriptor: a crash loses what is buffered
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{error}\n{line}") from error


def blocked_where_possible(case: Case, x: bool, z: bool, y: bool) -> Case:
    """Ask for blocked tensors; what is no multiple of 16 channels stays NCHW."""
    inputs, outputs = case.channels % 16 == 0, case.outputs % 16 == 0
    return replace(
        case,
        x_layout="blocked" if x and inputs else "NCHW",
        z_layout="blocked" if z and outputs else "NCHW",
        y_layout="blocked" if y and outputs else "NCHW",
    )


@st.composite
def hash_cases(draw: st.DrawFn) -> Case:
    """Any shape, any data: for what must be bit-identical."""
    pad = st.integers(0, 4)
    case = Case(
        batch=draw(st.sampled_from((1, 1, 2, 0))),
        channels=draw(st.sampled_from(CHANNELS)),
        outputs=1,
        height=draw(st.integers(1, 20)),
        width=draw(st.integers(1, 20)),
        kernel=draw(st.sampled_from(KERNELS)),
        pads=(draw(pad), draw(pad), draw(pad), draw(pad)),
        patch=draw(st.integers(1, 8)),
        count=draw(st.integers(1, 32)),
        kind=draw(st.sampled_from(KINDS)),
        seed=draw(st.integers(0, 2**31)),
    )
    return blocked_where_possible(_fitting(case), draw(st.booleans()), False, False)


@st.composite
def value_cases(draw: st.DrawFn) -> Case:
    """Any convolution on ordinary data, with a given grouping: for what is compared within a tolerance."""
    pad = st.integers(0, 3)
    # 3x3 at p = 3 and at p = 4 to 7 has code paths of its own, and is what networks are made of.
    patches = {"along y": st.just(3), "tiles": st.sampled_from(PATCHES[1:]), "any": st.integers(1, 8)}
    path = draw(st.sampled_from(tuple(patches)))
    case = Case(
        batch=draw(st.sampled_from((1, 1, 1, 2, 3, 0))),
        channels=draw(st.sampled_from(CHANNELS)),
        outputs=draw(st.sampled_from(OUTPUTS)),
        height=draw(st.integers(1, 13)),
        width=draw(st.integers(1, 13)),
        kernel=draw(st.sampled_from(KERNELS)) if path == "any" else (3, 3),
        pads=(draw(pad), draw(pad), draw(pad), draw(pad)),
        patch=draw(patches[path]),
        kind=draw(st.sampled_from((*ORDINARY, "integers"))),
        seed=draw(st.integers(0, 2**31)),
        merge_how=draw(st.sampled_from(MERGES)),
        tau=draw(st.sampled_from((0.0, 0.0, 0.3, 1.0, -1.0))),
        activation=draw(st.sampled_from(tuple(ACTIVATIONS))),
        residual=draw(st.booleans()),
        w_layout=draw(st.sampled_from(("OIHW", "packed"))),
        w_type=draw(st.sampled_from(("float32", "float16"))),
        groups=draw(st.sampled_from((1, 2, 5, 20, 200))),
    )
    return blocked_where_possible(_fitting(case), draw(st.booleans()), draw(st.booleans()), draw(st.booleans()))


def _fitting(case: Case) -> Case:
    """Enlarge the input until the kernel fits."""
    height = max(case.height, case.kernel[0] - case.pads[0] - case.pads[2])
    width = max(case.width, case.kernel[1] - case.pads[1] - case.pads[3])
    return replace(case, height=height, width=width)
