"""TVM, float32, its default pipeline for the processor at hand, without tuning."""

from __future__ import annotations

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

from tools.engines.adapters.base import Array, Job, Outputs, Runner


def _target() -> tvm.target.Target:
    host = tvm.get_global_func("target.llvm_get_system_cpu", allow_missing=True)
    return tvm.target.Target({"kind": "llvm", "mcpu": str(host())} if host else {"kind": "llvm"})


class _Tvm:
    def version(self) -> str:
        return f"apache-tvm {tvm.__version__}, target {_target()}"

    def prepare(self, job: Job) -> dict[str, Runner]:
        module = from_onnx(onnx.load(job.model), keep_params_in_input=False)
        with tvm.transform.PassContext(opt_level=3):
            executable = tvm.compile(module, target=_target())
        machine = relax.VirtualMachine(executable, tvm.cpu())
        main = machine["main"]

        def run(x: Array) -> Outputs:
            result = main(tvm.runtime.tensor(x))
            results = [result] if len(job.output_names) == 1 else list(result)
            return [np.array(y.numpy(), dtype=np.float32) for y in results]

        return {"TVM untuned": run}


def engine(_option: str) -> _Tvm:
    """Return the adapter."""
    return _Tvm()
