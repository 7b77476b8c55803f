# The Makefile only makes the virtual environment; everything else is `penstock` or pytest.
# Paths are relative on purpose: make cannot name a folder with a blank.

PYTHON ?= python3
UV_VERSION := 0.13.9
RUN := .venv/bin/python -m
CODE := libs services
SEED ?= 1000
# Without a home folder the package caches go into the environment itself.
ifeq ($(strip $(HOME)),)
export UV_CACHE_DIR ?= .venv/cache
export PIP_NO_CACHE_DIR ?= 1
endif
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV UV_PROJECT_ENVIRONMENT

.PHONY: help demo test lint verify bench
.DEFAULT_GOAL := help
.NOTPARALLEL:

help: ## Show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/ready ## Start the whole stack, run the demo pipelines, stop (KEEP=1: leave it running until Ctrl-C)
	@$(RUN) penstock up --demo $(if $(KEEP),--keep)

test: .venv/ready ## Run every test that CI runs (ARGS="-k name" narrows it)
	@$(RUN) pytest $(ARGS)

lint: .venv/ready ## Ruff, format, mypy, pyright, import contracts
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@MYPYPATH=libs:services $(RUN) mypy --strict $(CODE)
	@$(RUN) pyright --pythonpath .venv/bin/python $(CODE)
	@.venv/bin/lint-imports

verify: .venv/ready ## What `make test` does in part, in full: faults, mutants, model, simulation (an hour; SEED=1000)
	@$(RUN) tests.verify $(SEED)

bench: .venv/ready ## Run benchmarks on a fresh stack (BENCH="B1 B2")
	@$(RUN) bench $(or $(BENCH),B1 B2 B3 B4 B13)

.venv/ready: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 15) else \
	  "Penstock needs Python 3.11 to 3.14, and $(PYTHON) is %d.%d: use make PYTHON=python3.12" % v[:2])'
	@echo "Setting up .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(RUN) pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(RUN) uv sync --frozen --quiet --compile-bytecode
	@touch .venv/ready
