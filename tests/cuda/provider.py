"""HasteConv in a session of the CUDA execution provider; needs onnxruntime-gpu and a GPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from haste_export.reference import Float32, pack
from tests.cuda.device import _find
from tests.operator.bounds import tolerance
from tests.operator.cases import Case, Problem, build
from tests.operator.compare import assert_stats, assert_within
from tests.operator.onnx_models import haste_model

LAYER = Case(batch=2, channels=64, outputs=48, height=23, width=17, count=14, kind="relu", seed=8, w_layout="packed")


def cuda_session(problem: Problem) -> onnxruntime.InferenceSession:
    """A session on the CUDA provider; L is fed."""
    constants: dict[str, NDArray[Any]] = {"W": pack(problem.weights), "B": problem.bias, "V": problem.hyperplanes}
    model = haste_model(constants, kernel_shape=[3, 3], pads=[1, 1, 1, 1], w_layout="packed")
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries where they come as Python packages
    options = onnxruntime.SessionOptions()
    library = _find("libhaste_ops_cuda.so", "HASTE_OPS_CUDA_LIBRARY")
    assert library is not None
    options.register_custom_ops_library(str(library))
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
    assert session.get_providers()[0] == "CUDAExecutionProvider"
    return session


def run(session: onnxruntime.InferenceSession, x: Float32, count: int) -> list[Float32]:
    """Y and stats."""
    outputs: list[Float32] = session.run(None, {"X": x, "L": np.array(count, np.int64)})
    return outputs


def check_sessions() -> None:
    """Every L within the tolerance of the reference; two sessions from four threads give the bits of one alone."""
    problem = build(LAYER)
    first, second = cuda_session(problem), cuda_session(problem)
    alone = {}
    for count in (0, 1, 6, 14):
        case = Problem(Case(**{**LAYER.__dict__, "count": count}), *list(problem.__dict__.values())[1:])
        expected = case.reference()
        y, stats = alone[count] = run(first, problem.x, count)
        assert_within(y.astype(np.float64), expected.y, tolerance(case, expected))
        assert_stats(stats.astype(np.float64), expected.stats)
    jobs = [(session, count) for _ in range(20) for session in (first, second) for count in alone]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda job: run(job[0], problem.x, job[1]), jobs))
    for (_, count), (y, stats) in zip(jobs, results, strict=True):
        assert (y == alone[count][0]).all()
        assert (stats == alone[count][1]).all()
