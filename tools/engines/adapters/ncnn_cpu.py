"""ncnn on the CPU, float32, converted by pnnx."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import ncnn
import numpy as np

from tools.engines.adapters.base import Array, Job, Outputs, Runner

# By default ncnn stores and computes in 16 bits where the processor can.
_SIXTEEN_BITS = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage")


def _pnnx() -> Path:
    # Importing the package would need PyTorch; its converter, a program inside it, does not.
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        raise RuntimeError("pnnx is not installed")
    return Path(spec.origin).with_name("pnnx")


def _convert(job: Job, param: Path) -> None:
    folder = param.parent
    folder.mkdir(exist_ok=True)
    source = folder / "model.onnx"
    source.write_bytes(job.model.read_bytes())  # pnnx writes beside its input
    done = subprocess.run([str(_pnnx()), source.name, "fp16=0"], cwd=folder, stdout=sys.stderr, check=False)
    if done.returncode or not param.exists():
        raise RuntimeError(f"pnnx failed with exit code {done.returncode}")


class _Ncnn:
    def version(self) -> str:
        return f"ncnn {ncnn.__version__}, pnnx {importlib.metadata.version('pnnx')}"

    def prepare(self, job: Job) -> dict[str, Runner]:
        param = job.cache / "ncnn" / "model.ncnn.param"
        if not param.exists():
            _convert(job, param)
        net = ncnn.Net()
        net.opt.num_threads = job.threads
        net.opt.use_vulkan_compute = False
        for name in _SIXTEEN_BITS:
            setattr(net.opt, f"use_{name}", False)
        if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
            raise RuntimeError("ncnn could not load what pnnx wrote")
        outputs = [f"out{i}" for i in range(len(job.output_names))]

        def run(x: Array) -> Outputs:
            results = []
            with net.create_extractor() as extractor:
                extractor.input("in0", ncnn.Mat(x[0]))  # ncnn has no batch axis
                for name in outputs:
                    code, mat = extractor.extract(name)
                    if code:
                        raise RuntimeError(f"ncnn could not compute {name} (code {code})")
                    results.append(np.array(mat, dtype=np.float32)[np.newaxis])
            return results

        return {"ncnn f32": run}


def engine(_option: str) -> _Ncnn:
    """Return the adapter."""
    return _Ncnn()
