"""Everything that needs a GPU, in one command: builds, tests, sanitizes, benchmarks, writes the results file.

    make gpu-check        (or: python tools/gpu/gpu_check.py [--skip-sanitize] [--skip-bench])

Writes docs/results/gpu-<device>.md. Exits 1 when a step failed, and 3, with a sentence, where something that it needs
is missing: an NVIDIA GPU with its driver, nvcc, or PyTorch (or CuPy, for all but the benchmark) with CUDA.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "gpu"
FAILED, MISSING = 1, 3

SHARED = [
    f"tests/operator/test_{name}.py"
    for name in (
        *("merge", "special_values", "hash", "end_to_end", "dense", "correction", "half_weights"),
        *("real_activations", "pool", "errors"),
    )
]
"""Tests that every backend goes through, a GPU among them."""
SANITIZED = "gpu and (test_statistics or test_layouts or test_patches_and_kernels or test_pools_of_networks)"
"""Small cases that go through every kernel, with one round of buckets and with several: compute-sanitizer makes a
launch a hundred times slower."""


@dataclass
class Step:
    """One command and what came of it."""

    name: str
    command: list[str]
    output: str = ""
    status: int = 0

    def run(self, environment: dict[str, str]) -> bool:
        """Run from the repository's root, showing the output as it comes."""
        print(f"== {self.name}: {' '.join(self.command)}", flush=True)
        lines = []
        with subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        self.output, self.status = "".join(lines), process.returncode
        return self.status == 0


def device() -> tuple[str, str, str] | None:
    """Name, driver version and compute capability of the first GPU, or None."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    query = [smi, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True)
    if answer.returncode != 0 or not answer.stdout.strip():
        return None
    name, driver, capability = (word.strip() for word in answer.stdout.splitlines()[0].split(","))
    return name, driver, capability


def missing() -> str | None:
    """What this machine lacks, as a sentence."""
    if device() is None:
        return "no NVIDIA GPU with a driver was found (nvidia-smi shows none)"
    if shutil.which("nvcc") is None:
        return "nvcc was not found: install the CUDA toolkit and put its bin folder on the PATH"
    needed = ("pytest", "pytest_timeout", "hypothesis", "numpy", "onnx", "onnxruntime")
    for module in needed:
        if importlib.util.find_spec(module) is None:
            return f"{sys.executable} has no {module.replace('_', '-')}: install {', '.join(needed).replace('_', '-')}"
    probe = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([sys.executable, "-c", probe], capture_output=True).returncode == 0:
        return None
    probe = "import cupy, sys; sys.exit(cupy.cuda.runtime.getDeviceCount() == 0)"
    if subprocess.run([sys.executable, "-c", probe], capture_output=True).returncode == 0:
        return None
    return f"neither PyTorch nor CuPy with CUDA works in {sys.executable}"


ON_LANES = ["env", "HASTE_CUDA_TENSOR_CORES=0"]
"""In front of a command: what follows uses multiply-add units alone, where the GPU has a choice."""


def sanitizer(tool: str) -> list[str]:
    """compute-sanitizer around the small cases, failing on its findings.

    Memory is allocated piece by piece and left as it comes, or the tools would take what lies beside a buffer for part
    of it, and the pattern in it for contents. Errors of CUDA's API are not its subject: PyTorch provokes some.
    """
    memory = ["env", "PYTORCH_NO_CUDA_MEMORY_CACHING=1", "HASTE_TEST_BARE_BUFFERS=1"]
    options = ["--tool", tool, "--error-exitcode", "1", "--report-api-errors", "no"]
    tests = [*SHARED, "-q", "-x", "--timeout=0", "-k", SANITIZED]
    return [*memory, "compute-sanitizer", *options, sys.executable, "-m", "pytest", *tests]


def steps(options: argparse.Namespace, capability: str) -> list[Step]:
    """All steps in their order."""
    cmake = ["cmake", "-S", ".", "-B", str(BUILD), "-DCMAKE_BUILD_TYPE=Release", "-DHASTE_CUDA=ON"]
    architecture = capability.replace(".", "") + "-real"
    cmake += [f"-DHASTE_CUDA_ARCHITECTURES={architecture}", "-DHASTE_BUILD_RUNNER=OFF"]
    targets = ["--target", "haste_ops", "haste_ops_cuda", "haste_cuda_host"]
    result = [
        Step("configure", cmake),
        Step("build", ["cmake", "--build", str(BUILD), "--parallel", *targets]),
        Step("tests", [sys.executable, "-m", "pytest", "-q", "tests/cuda", *SHARED]),
        Step(
            "tests without tensor cores",
            [*ON_LANES, sys.executable, "-m", "pytest", "-q", "tests/cuda", *SHARED, "-k", "gpu"],
        ),
    ]
    if not options.skip_sanitize:
        tools = ("memcheck", "racecheck", "initcheck", "synccheck")
        result += [Step(tool, sanitizer(tool)) for tool in tools]
        result += [Step(f"{tool} without tensor cores", [*ON_LANES, *sanitizer(tool)]) for tool in tools]
    if not options.skip_bench:
        bench = [sys.executable, "tools/gpu/bench.py"]
        result.append(Step("benchmark", bench))
        result.append(Step("benchmark without tensor cores", [*ON_LANES, *bench, "--batch", "1,8"]))
    return result


def report(done: list[Step], name: str, driver: str) -> str:
    """The results file."""
    lines = [
        f"# CUDA kernels on {name}",
        "",
        f"{datetime.date.today()}, driver {driver}, command `make gpu-check`.",
        "",
        "| step | result | last line |",
        "|---|---|---|",
    ]
    for step in done:
        last = (step.output.strip().splitlines() or [""])[-1] if "benchmark" not in step.name else "below"
        result = "passed" if step.status == 0 else f"failed ({step.status})"
        lines.append(f"| {step.name} | {result} | {last.replace('|', ' ')} |")
    lines += [
        f"\n## {step.name.capitalize()}\n\n{step.output}"
        for step in done
        if "benchmark" in step.name and not step.status
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the steps up to the first that cannot be survived, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-sanitize", action="store_true")
    parser.add_argument("--skip-bench", action="store_true")
    options = parser.parse_args()
    lack = missing()
    if lack is None and not options.skip_sanitize and shutil.which("compute-sanitizer") is None:
        lack = "compute-sanitizer was not found: it comes with the CUDA toolkit (or use --skip-sanitize)"
    found = device()
    if lack is not None or found is None:
        print(f"gpu-check: {lack}", file=sys.stderr)
        return MISSING
    environment = {
        **os.environ,
        "HASTE_OPS_LIBRARY": str(BUILD / "libhaste_ops.so"),
        "HASTE_OPS_CUDA_LIBRARY": str(BUILD / "libhaste_ops_cuda.so"),
        "HASTE_CUDA_HOST_LIBRARY": str(BUILD / "libhaste_cuda_host.so"),
    }
    done: list[Step] = []
    name, driver, capability = found
    for step in steps(options, capability):
        done.append(step)
        if not step.run(environment) and step.name in ("configure", "build"):
            break
    results = ROOT / "docs" / "results" / f"gpu-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.md"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(report(done, name, driver), encoding="utf-8")
    failed = [step.name for step in done if step.status != 0]
    verdict = "failed: " + ", ".join(failed) if failed else "all steps passed"
    print(f"\n{verdict}; results in {results.relative_to(ROOT)}")
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(main())
