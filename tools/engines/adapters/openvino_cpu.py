"""OpenVINO's CPU plugin, at float32 or, on processors that have it, bfloat16.

Without a precision hint OpenVINO takes bfloat16 by itself where the processor has it, so both are forced and labelled.
"""

from __future__ import annotations

import numpy as np
import openvino

from tools.engines.adapters.base import Array, Job, NotAvailableError, Outputs, Runner

_CAPABILITY = {"f32": "FP32", "bf16": "BF16"}


class _OpenVino:
    def __init__(self, precision: str) -> None:
        self._precision = precision

    def version(self) -> str:
        return f"openvino {openvino.__version__}"

    def prepare(self, job: Job) -> dict[str, Runner]:
        core = openvino.Core()
        if _CAPABILITY[self._precision] not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise NotAvailableError(f"OpenVINO reports no {self._precision} on this processor")
        options = {
            "INFERENCE_NUM_THREADS": job.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self._precision,
        }
        request = core.compile_model(str(job.model), "CPU", options).create_infer_request()
        outputs = [request.get_tensor(name) for name in job.output_names]

        def run(x: Array) -> Outputs:
            request.infer({job.input_name: x}, share_inputs=True)
            return [np.array(tensor.data, dtype=np.float32) for tensor in outputs]

        return {f"OpenVINO {self._precision}": run}


def engine(option: str) -> _OpenVino:
    """Return the adapter for a precision, "f32" or "bf16"."""
    return _OpenVino(option)
