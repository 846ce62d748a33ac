# Everything that needs a GPU. GPU_PYTHON is an interpreter with PyTorch (CUDA), pytest, pytest-timeout, hypothesis,
# NumPy, ONNX and ONNX Runtime.
GPU_PYTHON ?= $(if $(PY),$(PY),python3)

.PHONY: gpu-check
gpu-check:  ## build, test, sanitize and time the CUDA kernels on this machine's GPU
	$(GPU_PYTHON) tools/gpu/gpu_check.py $(ARGS)
