# Archives and wheels for other processors. Included by the Makefile.
TARGET ?= aarch64-linux-gnu
TUNE   ?=

.PHONY: bundle test-aarch64

bundle: $(VENV)/.dev  ## build dist/haste-*-TARGET.tar.gz and its wheel (TARGET=aarch64-linux-gnu, TUNE=cortex-a72)
	$(PY) tools/bundle/bundle.py $(TARGET) $(if $(TUNE),--tune $(TUNE))

test-aarch64: native $(VENV)/.dev  ## cross-build and test under qemu-aarch64, as far as this machine can
	tests/aarch64/setup
	$(PY) -m pytest -q tests/aarch64 $(ARGS)
