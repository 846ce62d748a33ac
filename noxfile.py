"""Checks that need environments of their own. `make test` and `make lint` are the everyday entry."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
# As in the Makefile: the CMake and Ninja of the system where there are such, else the pinned ones.
TOOLS = {"PATH": os.pathsep.join([os.environ["PATH"], str(ROOT / ".venv" / "bin")])}
# The tests that run the op library; what they import of the compiler needs no newer onnx than the pins below.
NATIVE_TESTS = ["tests/runtime", "tests/operator", "tests/cuda"]
HEADER, HEADER_PACKAGE = "onnxruntime_c_api.h", "libonnxruntime-dev"
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
    session.run("cmake", "--preset", "sanitize", env=TOOLS, external=True)
    session.run("cmake", "--build", "--preset", "sanitize", env=TOOLS, external=True)
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


@nox.session(python=False)
def header(session: nox.Session) -> None:
    """Our declarations of ONNX Runtime's C API against its own header, which Debian has from 13 on."""
    with tempfile.TemporaryDirectory() as folder:
        include = official_header(Path(folder))
        if include is None:
            session.skip(f"there is no {HEADER}, and {HEADER_PACKAGE} of Debian 13 or newer cannot be downloaded")
        options = ["-DHASTE_CUDA=OFF", "-DHASTE_BUILD_CUDA_HOST=OFF", f"-DHASTE_ORT_INCLUDE_DIR={include}"]
        session.run("cmake", "-S", ".", "-B", "build/header", "-G", "Ninja", *options, env=TOOLS, external=True)
        targets = ["haste_ops_slot_check", "haste_runner_slot_check"]
        session.run("cmake", "--build", "build/header", "--clean-first", "--target", *targets, env=TOOLS, external=True)


@nox.session
@nox.parametrize("onnxruntime", list(ORT_PINS))
def ort(session: nox.Session, onnxruntime: str) -> None:
    """The operator in the oldest, a middle and the newest supported ONNX Runtime."""
    subprocess.run(["make", "native"], check=True, cwd=ROOT)
    session.install(
        f"onnxruntime=={onnxruntime}", *ORT_PINS[onnxruntime], "pytest", "pytest-timeout", "hypothesis", "click", "rich"
    )
    operator = map(str, sorted((ROOT / "tests" / "operator").glob("test_onnxruntime*.py")))
    arguments = session.posargs or ["tests/runtime", *operator]
    session.run("python", "-m", "pytest", "-q", *arguments, env={"PYTHONPATH": str(ROOT)})


@nox.session
def cuda_provider(session: nox.Session) -> None:
    """The CUDA operators in ONNX Runtime's own CUDA provider, on a stand-in for CUDA's runtime: needs no GPU.

    It downloads 0.3 GB. The second run locks device memory away from the host.
    """
    session.install("-r", "requirements/dev.txt")
    # Both packages of ONNX Runtime write to the same folder.
    session.run("pip", "uninstall", "-y", "-q", "onnxruntime")
    session.install("--force-reinstall", "--no-deps", "onnxruntime-gpu==1.31.1")
    # Headers alone: the libraries beside them must not be found.
    build, stand_in = "build/stand-in", ROOT / "build" / "stand-in" / "stand-in"
    packages = ROOT / build / "packages"
    headers = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-crt==13.0.88"]
    session.install("--no-deps", "--upgrade", "--target", str(packages), *headers)
    include = f"-DHASTE_CUDA_STAND_IN={packages / 'nvidia' / 'cu13' / 'include'}"
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DHASTE_CUDA=OFF", "-DHASTE_BUILD_RUNNER=OFF", include]
    session.run("cmake", "-S", ".", "-B", build, "-G", "Ninja", *options)
    session.run("cmake", "--build", build, "--target", "haste_ops", "haste_ops_cuda_stand_in")
    session.run("python", "tools/gpu/stub_libraries.py", str(stand_in))
    environment = {
        "PYTHONPATH": str(ROOT),
        "LD_LIBRARY_PATH": str(stand_in),
        "HASTE_TEST_PROVIDER": "required",
        "HASTE_OPS_LIBRARY": str(ROOT / "build" / "stand-in" / "libhaste_ops.so"),
        "HASTE_OPS_CUDA_LIBRARY": str(stand_in / "libhaste_ops_cuda.so"),
    }
    for lock in ({}, {"HASTE_STAND_IN_LOCK": "1"}):
        session.run("python", "-m", "pytest", "-q", "tests/cuda/test_provider.py", env={**environment, **lock})


def official_header(folder: Path) -> Path | None:
    """Where ONNX Runtime's header is: installed, or downloaded into `folder`; None if it cannot be had."""
    for place in (Path("/usr/include/onnxruntime"), Path("/usr/local/include/onnxruntime")):
        if (place / HEADER).is_file():
            return place
    if shutil.which("apt-get") is None:
        return None
    for options in ([], debian_13(folder)):
        subprocess.run(["apt-get", "-q", *options, "download", HEADER_PACKAGE], cwd=folder, check=False)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
            return folder / "usr" / "include" / "onnxruntime"
    return None


def debian_13(folder: Path) -> list[str]:
    """Options that let apt see Debian 13 on an older one, from the same mirror; nothing of the machine is changed."""
    origins = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"]
    lines = subprocess.run(origins, capture_output=True, text=True, check=False).stdout.splitlines()
    mirror = next((line.split()[1] for line in lines if line.startswith("Debian ")), None)
    keys = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if mirror is None or not keys.is_file():
        return []
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "sources").write_text(f"deb [signed-by={keys}] {mirror} trixie main\n")
    settings = {
        "Dir::Etc::SourceList": folder / "sources",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder,
        "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
        "APT::Sandbox::User": "",  # root's other user may not read the folder
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    subprocess.run(["apt-get", "-q", *options, "update"], check=False)
    return options


def compiler_file(name: str) -> str:
    """Full path of a runtime library that comes with the C++ compiler."""
    compiler = os.environ.get("CXX", "g++")
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()
