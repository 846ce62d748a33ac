"""Runs the original and the compressed model side by side: the gate behind `haste-export --check`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto

import runtime_ops
from haste_export.contract import STEERING_HYPERPLANES, STEERING_LEVEL
from haste_export.errors import CheckFailedError, OptionError
from haste_export.io import load_model
from haste_export.proto import read_proto

Feeds = Mapping[str, npt.NDArray[Any]]
Ran = Literal["native kernels", "fallback bodies", "stock operators"]

DENSE_TOLERANCE = 1e-4
"""Largest relative error of dense mode. Both models sum the same products in float32 in another order; folded
batch norms round once more. Over the models tried, 50 layers deep, that is below 1e-5."""

HALF_TOLERANCE = 1e-2
"""The same where weights were rounded to float16, which moves each by up to 2^-11 of itself. Over the models tried, up
to 53 layers deep, that is 6e-5 to 2e-3."""

_ROUNDING_FACTOR = 4
"""How much further dense mode may be from the original than the original without ONNX Runtime's optimisations is, where
that is more than the tolerance: a network may amplify rounding, or its output nearly vanish on random input."""

_MADE_UP = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32,
    TensorProto.INT64, TensorProto.BOOL,
)  # fmt: skip
"""Types of which random values are made."""


@dataclass(frozen=True)
class CheckResult:
    """How far the compressed model is from the original, over all runs and outputs.

    Attributes:
        runs: how many inputs were tried.
        ran: whether native kernels or the fallback bodies computed the compressed model; "stock operators" where it
            has no HasteConv.
        dense_error: largest relative error (L2 norm) of dense mode, which must be the original.
        default_error: largest relative error at the model's default L; equal to the dense one where bodies ran.
        tolerance: what dense_error may be, in the run in which it comes nearest to that or exceeds it most.
    """

    runs: int
    ran: Ran
    dense_error: float
    default_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether dense mode computes what the original computes. NaN fails."""
        return self.dense_error <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {**asdict(self), "passed": self.passed}


def check_models(
    original: Path,
    compressed: Path,
    runs: int,
    *,
    feeds: Feeds | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    tolerance: float = DENSE_TOLERANCE,
) -> CheckResult:
    """Run both models on the same inputs: `runs` random ones, or the given one once.

    Args:
        original: the model that was compressed.
        compressed: the result.
        runs: how many random inputs to try.
        feeds: input name -> array, in place of random inputs.
        shapes: shapes for inputs whose own are dynamic; the batch is 1 unless given.
        tolerance: what the relative error of dense mode may be, unless the original's own is as large: between its
            runs with and without ONNX Runtime's optimisations.

    Raises:
        OptionError: an input's size is dynamic and not given, or its type is one that cannot be made up.
        CheckFailedError: one of the models does not run.
    """
    made_up = random_inputs(original, shapes) if feeds is None else {}
    try:
        stock = onnxruntime.InferenceSession(str(original), _quiet(), providers=["CPUExecutionProvider"])
        library = _library()
        session = runtime_ops.Session(str(compressed), options=_quiet(), library=library or False)
    except Exception as error:
        raise CheckFailedError(f"ONNX Runtime does not load the model: {_first_line(error)}") from error
    steering = sorted(session.steering & {STEERING_HYPERPLANES, STEERING_LEVEL})
    outputs = [node.name for node in stock.get_outputs()]  # the compressed model may give out statistics too
    dense_error = default_error = 0.0
    allowed = tolerance
    for run in range(runs if feeds is None else 1):
        inputs = feeds if feeds is not None else _random_feeds(made_up, run)
        try:
            expected = stock.run(outputs, dict(inputs))
            default = session.run(inputs, outputs)
            dense = session.run({**inputs, **{name: np.array(0, np.int64) for name in steering}}, outputs)
        except Exception as error:
            raise CheckFailedError(f"a run failed: {_first_line(error)}") from error
        difference, may_be = _largest_error(expected, dense), tolerance
        if not difference <= tolerance:
            may_be = max(tolerance, _ROUNDING_FACTOR * _rounding_error(original, inputs, outputs, expected))
        if not difference / may_be <= dense_error / allowed:
            dense_error, allowed = difference, may_be
        default_error = max(default_error, _largest_error(expected, default))
    ran: Ran = "native kernels" if session.native else "fallback bodies" if steering else "stock operators"
    return CheckResult(runs if feeds is None else 1, ran, dense_error, default_error, allowed)


def _rounding_error(original: Path, inputs: Feeds, outputs: list[str], expected: list[Any]) -> float:
    """How far the original is from itself where ONNX Runtime sums in another order, because nothing is optimised."""
    options = _quiet()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(str(original), options, providers=["CPUExecutionProvider"])
    error = _largest_error(expected, plain.run(outputs, dict(inputs)))
    return error if np.isfinite(error) else 0.0


@dataclass(frozen=True)
class RandomInput:
    """An input of which random values are made."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def random_inputs(model: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, RandomInput]:
    """The inputs that random values are made for: all that must be fed.

    Args:
        model: the original.
        shapes: shapes for inputs whose own are dynamic; the batch is 1 unless given.

    Raises:
        OptionError: an input's size is dynamic and not given, or its type is one that cannot be made up.
        UnreadableModelError: as `read_proto`.
    """
    graph = read_proto(model).graph
    constant = {tensor.name for tensor in graph.initializer}
    return {
        value.name: RandomInput(
            _shape_to_feed(value, (shapes or {}).get(value.name)),
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in graph.input
        if value.name not in constant
    }


def load_feeds(path: Path, original: Path) -> dict[str, npt.NDArray[Any]]:
    """Read inputs from an .npz with an array per input, or from an .npy for a model with one input.

    Raises OptionError if the file cannot be read or does not fit the model, and UnreadableModelError as `load_model`.
    """
    try:
        # Opened here, because NumPy leaves a broken archive open.
        with path.open("rb") as file:
            loaded = np.load(file)
            feeds = (
                None if isinstance(loaded, np.ndarray) else {name: np.asarray(loaded[name]) for name in loaded.files}
            )
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise OptionError(f"cannot read the input {path}: {error}") from error
    known = {str(value.name): value for value in load_model(original).graph.inputs}
    inputs = {name: value for name, value in known.items() if not value.is_initializer()}
    if feeds is None:
        if len(inputs) != 1:
            raise OptionError(f"{path} holds one array, and the model has {len(inputs)} inputs; use an .npz")
        feeds = {next(iter(inputs)): loaded}
    for name in inputs:
        if name not in feeds:
            raise OptionError(f"{path} has no array for the input '{name}'")
    for name, array in feeds.items():
        if name not in known:
            raise OptionError(f"{path} has an array '{name}', and the model has no such input")
        _check_fits(array, known[name], path)
    return feeds


def _check_fits(array: npt.NDArray[Any], value: ir.Value, path: Path) -> None:
    """Raise OptionError if an array is of another type than the input, or its static sizes are others."""
    if value.dtype not in (None, ir.DataType.STRING) and array.dtype != value.dtype.numpy():
        raise OptionError(f"{path}: '{value.name}' is {array.dtype}, and the model wants {value.dtype.numpy()}")
    if value.shape is None:
        return
    sizes = [dim if isinstance(dim, int) else None for dim in value.shape]
    fits = len(sizes) == array.ndim and all(
        size in (None, given) for size, given in zip(sizes, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("?" if size is None else str(size) for size in sizes)
        raise OptionError(f"{path}: '{value.name}' has the shape {list(array.shape)}, and the model wants [{wanted}]")


def _library() -> str | None:
    try:
        return runtime_ops.library_path()
    except runtime_ops.LibraryNotFoundError:
        return None


def _quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # an error is raised as well, and told in one sentence
    return options


def _shape_to_feed(value: onnx.ValueInfoProto, given: tuple[int, ...] | None) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    if tensor.elem_type not in _MADE_UP:
        kind = TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type else value.type.WhichOneof("value")
        raise OptionError(f"no random values can be made for the input '{value.name}' ({kind}); give --check-input")
    if given is not None:
        return given
    if not tensor.HasField("shape"):
        raise OptionError(f"input '{value.name}' has no shape; give --input-shape or --check-input")
    own: list[int | str] = [
        dim.dim_value if dim.dim_value > 0 else (1 if axis == 0 else dim.dim_param or "?")
        for axis, dim in enumerate(tensor.shape.dim)
    ]
    sizes = tuple(size for size in own if isinstance(size, int))
    if len(sizes) < len(own):
        wanted = ",".join(map(str, own))
        raise OptionError(
            f"input '{value.name}' has open sizes; give --input-shape {value.name}:{wanted} with numbers in place of "
            f"names, or --check-input"
        )
    return sizes


def _random_feeds(inputs: Mapping[str, RandomInput], seed: int) -> dict[str, npt.NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {
        name: np.asarray(
            rng.standard_normal(entry.shape) if entry.dtype.kind == "f" else rng.integers(0, 2, entry.shape)
        ).astype(entry.dtype)
        for name, entry in inputs.items()
    }


def _largest_error(expected: list[Any], actual: list[Any]) -> float:
    """Largest error of the outputs, each relative to the norm of what was expected."""
    if len(expected) != len(actual):
        return float("inf")
    return max((_relative_error(a, b) for a, b in zip(expected, actual, strict=True)), default=0.0)


def _relative_error(expected: Any, actual: Any) -> float:
    """Error of one output: a tensor, a sequence of tensors, or nothing. What is no number must be equal."""
    if isinstance(expected, list):
        return _largest_error(expected, actual)
    if expected is None or np.asarray(expected).dtype.kind not in "fiub":
        return 0.0 if np.array_equal(expected, actual) else float("inf")
    expected = np.asarray(expected)
    a, b = expected.astype(np.float64), np.asarray(actual).astype(np.float64)
    if a.shape != b.shape:
        return float("inf")
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    norm, error = float(np.linalg.norm(a[finite])), float(np.linalg.norm(a[finite] - b[finite]))
    return error / norm if norm else error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
