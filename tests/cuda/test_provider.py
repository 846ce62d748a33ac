"""Compressed models in ONNX Runtime's CUDA provider.

On a GPU, or on the stand-in for CUDA's runtime of cpp_ops/cuda/stand_in, whose streams are threads (nox -s
cuda_provider). With HASTE_STAND_IN_LOCK=1 it also ends the program where the host touches device memory.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

import runtime_ops
from haste_export import LayerSetting, Plan, compress
from haste_export.reference import Float32, pack
from runtime_ops.library import CUDA_PROVIDER
from tests.cuda.target import cuda_library
from tests.exporter.models import filters, relative_error, text_model, vector
from tests.operator.bounds import tolerance
from tests.operator.cases import Case, Problem, build
from tests.operator.compare import assert_stats, assert_within
from tests.operator.onnx_models import haste_model

Outputs = list[Float32]

LAYER = Case(batch=2, channels=64, outputs=48, height=23, width=17, count=14, kind="relu", seed=8, w_layout="packed")
NETWORK = """
[a] a0 = Conv <pads = [1,1,1,1]> (x, wa, ba)
a = Relu (a0)
[b] b0 = Conv <pads = [1,1,1,1]> (a, wb, bb)
b1 = Add (b0, a)
b = Relu (b1)
p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (b)
[c] c0 = Conv (p, wc, bc)
c = Relu (c0)
q = AveragePool <kernel_shape = [2,2], strides = [2,2]> (c)
[d] y = Conv <pads = [1,1,1,1]> (q, wd, bd)
"""
"""A residual, both pools and a 1x1 kernel, all blocked: ONNX Runtime's own kernels have no part in it."""
LEVELS = Plan(
    levels=(
        {"a": LayerSetting(20), "b": LayerSetting(14), "c": LayerSetting(14), "d": LayerSetting(10)},
        {"a": LayerSetting(8), "b": LayerSetting(6), "c": LayerSetting(0), "d": LayerSetting(4)},
    ),
    default_level=1,
)


@cache
def why_not() -> str | None:
    """What is missing, as a sentence."""
    if cuda_library() is None:
        return "libhaste_ops_cuda.so is not built (it needs nvcc)"
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return "this onnxruntime has no CUDA provider (onnxruntime-gpu has one)"
    try:
        cuda_session(haste_network())
    except RuntimeError as error:
        return str(error)
    return None


@pytest.fixture(autouse=True)
def provider() -> None:
    reason = why_not()
    if reason is not None:
        # A command that brings a provider along must not pass by skipping.
        (pytest.fail if os.environ.get("HASTE_TEST_PROVIDER") == "required" else pytest.skip)(reason)


@pytest.fixture
def stand_in() -> ctypes.CDLL:
    """The stand-in for CUDA's runtime, which counts."""
    try:
        runtime = ctypes.CDLL("libcudart.so.13")
    except OSError:
        pytest.skip("CUDA's runtime is not a shared library here")
    if not hasattr(runtime, "haste_stand_in_counts"):
        pytest.skip("only the stand-in for CUDA's runtime counts")
    return runtime


def cuda_session(
    model: onnx.ModelProto, options: onnxruntime.SessionOptions | None = None, **provider_options: str
) -> onnxruntime.InferenceSession:
    """A session on the CUDA provider, or RuntimeError."""
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries where they come as Python packages
    options = options or onnxruntime.SessionOptions()
    options.log_severity_level = 3  # a steering input makes ONNX Runtime warn that it is not constant
    library = cuda_library()
    assert library is not None
    options.register_custom_ops_library(str(library))
    providers = [(CUDA_PROVIDER, provider_options), "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
    if session.get_providers()[0] != CUDA_PROVIDER:
        raise RuntimeError("ONNX Runtime's CUDA provider did not load")
    return session


def haste_layer(problem: Problem) -> onnx.ModelProto:
    """One HasteConv; L is fed."""
    constants: dict[str, NDArray[Any]] = {"W": pack(problem.weights), "B": problem.bias, "V": problem.hyperplanes}
    return haste_model(constants, kernel_shape=[3, 3], pads=[1, 1, 1, 1], w_layout="packed")


@cache
def haste_network(levels: bool = False) -> onnx.ModelProto:
    """NETWORK, compressed; with the levels of a plan, or one L for all."""
    sizes = {"a": (32, 16, 3, 3), "b": (32, 32, 3, 3), "c": (48, 32, 1, 1), "d": (32, 48, 3, 3)}
    constants = {f"w{name}": filters(*size) for name, size in sizes.items()}
    constants |= {f"b{name}": vector(size[0]) for name, size in sizes.items()}
    model = text_model(NETWORK, constants, inputs="float[N,16,28,28] x")
    return compress(model, skip_first=0, select="all", plan=LEVELS if levels else Plan())


def image(batch: int = 2) -> Float32:
    return np.maximum(np.random.default_rng(5).standard_normal((batch, 16, 28, 28)), 0).astype(np.float32)


def run(session: onnxruntime.InferenceSession, x: Float32, **steering: int) -> Outputs:
    name = session.get_inputs()[0].name
    outputs: Outputs = session.run(None, {name: x, **{key: np.array(v, np.int64) for key, v in steering.items()}})
    return outputs


def run_on_cpu(model: onnx.ModelProto, x: Float32, **steering: int) -> Outputs:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    runtime_ops.register(options)
    return run(onnxruntime.InferenceSession(model.SerializeToString(), options), x, **steering)


def test_a_layer_gives_what_the_reference_gives_at_every_l() -> None:
    problem = build(LAYER)
    session = cuda_session(haste_layer(problem))
    for count in (0, 1, 6, 14):
        case = replace(problem, case=replace(LAYER, count=count))
        expected = case.reference()
        y, stats = run(session, problem.x, L=count)
        assert_within(y.astype(np.float64), expected.y, tolerance(case, expected))
        assert_stats(stats.astype(np.float64), expected.stats)


def test_sessions_and_streams_at_once_give_the_bits_of_one_alone() -> None:
    """Two sessions, each run by several threads, and so on several streams, with L changing between runs."""
    problem = build(LAYER)
    model = haste_layer(problem)
    sessions = [cuda_session(model), cuda_session(model)]
    alone = {count: run(sessions[0], problem.x, L=count) for count in (0, 1, 6, 14)}
    jobs = [(session, count) for _ in range(20) for session in sessions for count in alone]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda job: run(job[0], problem.x, L=job[1]), jobs))
    for (_, count), outputs in zip(jobs, results, strict=True):
        for output, expected in zip(outputs, alone[count], strict=True):
            np.testing.assert_array_equal(output, expected)


@pytest.mark.parametrize(("levels", "steering"), [(False, "haste_hyperplanes"), (True, "haste_level")])
def test_a_network_gives_what_the_cpu_gives(levels: bool, steering: str) -> None:
    """The bound leaves room for a hash bit that a rounding error of the layer before turns over."""
    model = haste_network(levels)
    session = cuda_session(model)
    for value, bound in ((0, 1e-5), (1, 1e-2), (2, 1e-2)) if levels else ((0, 1e-5), (6, 1e-2), (14, 1e-2)):
        expected = run_on_cpu(model, image(), **{steering: value})
        assert relative_error(expected, run(session, image(), **{steering: value})) <= bound


@pytest.mark.parametrize("levels", [False, True])
def test_every_layer_runs_on_the_gpu_and_nothing_is_copied_between_them(levels: bool, tmp_path: Path) -> None:
    """ONNX Runtime puts a copy wherever a node reads what lies elsewhere: to read L or a level it would wait."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = cuda_session(haste_network(levels), options)
    run(session, image())
    events = [event["args"] for event in json.loads(Path(session.end_profiling()).read_text()) if "args" in event]
    providers = {event["op_name"]: event["provider"] for event in events if "provider" in event}
    expected = dict.fromkeys(("HasteConv", "HasteMaxPool", "HasteAveragePool"), CUDA_PROVIDER)
    if levels:
        expected["HasteLevel"] = "CPUExecutionProvider"
    assert providers == expected


def test_runs_after_the_first_allocate_nothing(stand_in: ctypes.CDLL) -> None:
    """Image and result stay on the device; ONNX Runtime's own arena has grown by the second run."""
    session = cuda_session(haste_network())
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(image(), "cuda", 0))
    binding.bind_output("y", "cuda")
    counts: list[list[int]] = []
    for hyperplanes in (14, 14, 0, 6, 14):
        steering = onnxruntime.OrtValue.ortvalue_from_numpy(np.array(hyperplanes, np.int64))
        binding.bind_ortvalue_input("haste_hyperplanes", steering)
        session.run_with_iobinding(binding)
        now = (ctypes.c_int64 * 3)()
        stand_in.haste_stand_in_counts(now)
        counts.append(list(now))
    assert all(after == counts[1] for after in counts[2:]), "allocations, copies to and from the device"


def test_a_captured_graph_keeps_its_l() -> None:
    model = haste_network()
    expected = run(cuda_session(model), image(), haste_hyperplanes=14)[0]
    session = cuda_session(model, enable_cuda_graph="1")
    binding = session.io_binding()
    result = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(expected.shape), np.float32, "cuda", 0)
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(image(), "cuda", 0))
    binding.bind_ortvalue_output("y", result)
    for hyperplanes in (14, 14, 6):
        steering = onnxruntime.OrtValue.ortvalue_from_numpy(np.array(hyperplanes, np.int64))
        binding.bind_ortvalue_input("haste_hyperplanes", steering)
        session.run_with_iobinding(binding)
        np.testing.assert_array_equal(result.numpy(), expected)


def test_haste_bench_compares_on_the_gpu(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.onnx") for name in "ab"]
    for path in paths:
        onnx.save(haste_network(), path)
    arguments = [*paths, "--cuda", "--batch", "1", "--runs", "2", "--hyperplanes", "0,14", "--json", "-"]
    command = [sys.executable, "-m", "haste_export.cli.main", "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["provider"] == "CUDA"
    assert {row["executed"] for row in report["rows"]} == {"native (CUDA)"}
    assert {row["relative_error"] for row in report["rows"] if row["relative_error"] is not None} == {0.0}
