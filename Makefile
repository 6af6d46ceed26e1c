# sonde: what a person or a machine does with the project.  `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup build examples demo test test-vm lint bench wheel clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## all that development needs, in .venv (PYTHON=python3.12 for another Python)
	@PYTHON="$(PYTHON)" VENV="$(VENV)" tools/setup

build:  ## libbpf, the BPF objects and the extension, where their sources have changed
	@$(BIN)/python setup.py -q build_ext --inplace
