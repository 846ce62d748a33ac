"""A HasteConv of a case as the one node of a model in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from haste_export.reference import Float32
from tests.operator import native
from tests.operator.c_api import from_memory, to_memory
from tests.operator.cases import ACTIVATIONS, Case, Problem, build
from tests.operator.onnx_models import haste_model, session

LAYER = Case(batch=2, channels=32, outputs=32, height=8, width=11, count=6, kind="relu", seed=21)
REFUSALS = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.InvalidGraph, ort_errors.RuntimeException)
Feeds = dict[str, NDArray[Any]]


def library_path() -> str:
    path = native.find_library()
    assert path is not None
    return str(path)


def constants_of(problem: Problem) -> Feeds:
    return {"W": problem.case.options.stored(problem.weights), "B": problem.bias, "V": problem.hyperplanes}


def attributes_of(case: Case) -> dict[str, Any]:
    params = ACTIVATIONS[case.activation]
    optional = {"activation_params": list(params)} if params else {}
    layouts = {"x_layout": case.x_layout, "z_layout": case.z_layout, "y_layout": case.y_layout}
    return {
        "kernel_shape": list(case.kernel),
        "pads": list(case.pads),
        "patch": case.patch,
        "merge": case.merge_how,
        "activation": case.activation,
        "w_layout": case.w_layout,
        **layouts,
        **optional,
    }


def in_memory(x: Float32, layout: str) -> Float32:
    """A tensor of the declared shape whose memory has the given layout."""
    return to_memory(x, layout).reshape(x.shape)


def run(constants: Feeds, feeds: Feeds, threads: int = 1, stats: bool = True, **attributes: Any) -> list[Float32]:
    """Outputs of one HasteConv; `constants` are initializers, `feeds` the inputs of the model."""
    w_type = helper.np_dtype_to_tensor_dtype(feeds["W"].dtype) if "W" in feeds else TensorProto.FLOAT
    ranks = {name: value.ndim for name, value in feeds.items()}
    made = haste_model(constants, tuple(feeds), stats, w_type=w_type, ranks=ranks, **attributes)
    outputs: list[Float32] = session(made, library_path(), threads).run(None, feeds)
    return outputs


def run_case(case: Case, threads: int = 1) -> tuple[Problem, Float32, Float32]:
    """The problem of a case, y [N,M,H',W'] as declared, stats [8]."""
    problem = build(case)
    feeds: Feeds = {"X": in_memory(problem.x, case.x_layout), "L": np.array(case.count, np.int64)}
    if problem.residual is not None:
        feeds["Z"] = in_memory(problem.residual, case.z_layout)
    if case.tau:
        feeds["T"] = np.array(case.tau, np.float32)
    y, stats = run(constants_of(problem), feeds, threads, **attributes_of(case))
    return problem, from_memory(y.reshape(-1), y.shape, case.y_layout), stats
