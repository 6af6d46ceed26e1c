# sonde: what a person or a machine does with the project.  `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KERNELS ?= 5.10 6.1 6.12 7

.DEFAULT_GOAL := help
.PHONY: help setup build examples demo test test-vm lint bench wheel image clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## all that development needs, in .venv (PYTHON=python3.12 for another Python)
	@PYTHON="$(PYTHON)" VENV="$(VENV)" tools/setup

build:  ## the BPF objects and the extension again, where their sources have changed
	@$(BIN)/python setup.py -q build_ext --inplace
	@# As pip does with what it installs: where PYTHONDONTWRITEBYTECODE is set, start-up takes three times as long without.
	@$(BIN)/python -m compileall -q src/sonde

examples: setup  ## compile examples/ into build/examples
	@PYTHONPATH=tools $(BIN)/python -m sonde_build --into build/examples $(wildcard examples/*.bpf.c)

demo: setup  ## the agent for five seconds: what it measured, and that its last page says the same (needs root)
	@$(BIN)/python examples/agent.py 5

test: examples  ## the whole suite (as root: the kernel tests too)
	@$(BIN)/python tools/suite.py

test-vm: wheel  ## the kernel suite on other kernels, under QEMU (KERNELS="5.10 6.1")
	@$(BIN)/python tools/vm/test.py --kernels "$(KERNELS)" $(if $(ESSENTIAL),--essential)

lint: setup  ## ruff, mypy, import-linter and the house style
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/tidy.py

bench: setup  ## sonde beside every other tool: a page and plots in build/benchmarks (needs root; QUICK=1, PUBLISH=1)
	@VENV="$(VENV)" tools/contenders
	@PYTHONPATH=tools $(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(PUBLISH),--publish)

wheel: setup  ## dist/sonde-…-cp311-abi3-manylinux….whl
	@PYTHONPATH=tools $(BIN)/python -m sonde_build.portable

image: wheel  ## the OCI image sonde:VERSION (needs root, mmdebstrap and buildah)
	@VENV="$(VENV)" tools/oci/build

clean:  ## what the build made; .venv and ~/.cache/sonde stay
	@rm -rf build dist src/sonde.egg-info src/sonde/_libbpf/digests.c src/sonde/_libbpf/_native*.so
	@find src -name '*.bpf.o' -delete
