"""Checks that need environments of their own. `make test` and `make lint` are the everyday entry."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
# The tests that run the op library; what they import of the compiler needs no newer onnx than the pins below.
NATIVE_TESTS = ["tests/runtime", "tests/operator", "tests/cuda"]
# ONNX Runtime release -> the packages its tests run with: the newest of their time that it can load.
ORT_PINS = {
    "1.17.3": ["numpy==1.26.4", "onnx==1.18.0"],
    "1.23.2": ["numpy<2.4", "onnx==1.19.1"],
    "1.31.1": ["numpy", "onnx"],
}


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Ruff, mypy --strict, clang-format, clang-tidy."""
    session.run("make", "lint", external=True)


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """Every test, in the development environment."""
    session.run("make", "test", "ARGS=" + " ".join(session.posargs), external=True)


@nox.session(python=False)
def sanitize(session: nox.Session) -> None:
    """The native tests under AddressSanitizer and UndefinedBehaviorSanitizer, in the development environment."""
    session.run("make", ".venv/.models", external=True)
    # As in the Makefile: the CMake and Ninja of the system where there are such, else the pinned ones.
    path = os.pathsep.join([os.environ["PATH"], str(ROOT / ".venv" / "bin")])
    session.run("cmake", "--preset", "sanitize", env={"PATH": path}, external=True)
    session.run("cmake", "--build", "--preset", "sanitize", env={"PATH": path}, external=True)
    environment = {
        "HASTE_OPS_LIBRARY": str(ROOT / "build" / "sanitize" / "libhaste_ops.so"),
        "HASTE_CUDA_HOST_LIBRARY": str(ROOT / "build" / "sanitize" / "libhaste_cuda_host.so"),
        # Python itself is not instrumented, so the runtimes must be there before it starts.
        "LD_PRELOAD": f"{compiler_file('libasan.so')} {compiler_file('libubsan.so')}",
        # CPython never frees its interned objects, so leaks cannot be told from its own.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }
    python = str(ROOT / ".venv" / "bin" / "python")
    arguments = session.posargs or NATIVE_TESTS
    session.run(python, "-m", "pytest", "-q", "--timeout=1800", *arguments, env=environment, external=True)


@nox.session
@nox.parametrize("onnxruntime", list(ORT_PINS))
def ort(session: nox.Session, onnxruntime: str) -> None:
    """The operator in the oldest, a middle and the newest supported ONNX Runtime."""
    subprocess.run(["make", "native"], check=True, cwd=ROOT)
    session.install(
        f"onnxruntime=={onnxruntime}", *ORT_PINS[onnxruntime], "pytest", "pytest-timeout", "hypothesis", "click", "rich"
    )
    arguments = session.posargs or ["tests/runtime", "tests/operator/test_onnxruntime.py"]
    session.run("python", "-m", "pytest", "-q", *arguments, env={"PYTHONPATH": str(ROOT)})


def compiler_file(name: str) -> str:
    """Full path of a runtime library that comes with the C++ compiler."""
    compiler = os.environ.get("CXX", "g++")
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()
