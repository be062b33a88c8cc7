# The only commands that people and CI need; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
DEMO := results/local/demo
STAMP := $(VENV)/.installed

.PHONY: help install demo test coverage quick test-ray check sweep plot bench gpu trust mutants figures rates scale export wheel clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

$(STAMP): pyproject.toml constraints.txt setup.py resdeg/models/norm_relu.cpp
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "resdeg needs Python >= 3.11; try make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "no venv module: install it (Debian: apt install python3-venv)" >&2; exit 2; }
	@# torch is installed first, and only if it is missing, so that a build for the CPU that is there stays
	@echo "installing resdeg, torch and what the tests need into $(VENV): some minutes, without output"
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

install: $(STAMP) ## install resdeg into .venv

demo: $(STAMP) ## the degradation curve on the built-in data, about 3 minutes with the install
	$(BIN)/resdeg sweep configs/demo.toml --out $(DEMO)

test: $(STAMP) ## the tests
	$(BIN)/python -m pytest -n 2

coverage: $(STAMP) ## the tests with coverage, which takes half as long again
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered --cov-fail-under=90

quick: $(STAMP) ## the fast tests: under two minutes on 2 cores
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-ray: $(STAMP) ## the tests of --engine ray, on two Ray nodes of this machine: under 8 minutes with the install
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,ray]'
	$(BIN)/python -m pytest tests/cluster

check: $(STAMP) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

sweep: $(STAMP) ## resdeg sweep --depths 8,20,56 (ARGS="--seeds 0" adds options)
	$(BIN)/resdeg sweep --depths 8,20,56 $(ARGS)

plot: $(STAMP) ## draw the last sweep
	$(BIN)/resdeg plot $(ARGS)

bench: $(STAMP) ## the engine against a textbook loop
	$(BIN)/resdeg bench $(ARGS)

wheel: $(STAMP) ## a wheel and a source archive in dist/, checked as a package index checks them
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt build twine
	rm -rf dist build
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

gpu: $(STAMP) ## what this GPU gives, within 10 minutes (ARGS="--minutes 20 --data-dir DIR")
	$(BIN)/python -m resdeg.bench.gpu $(ARGS)

trust: $(STAMP) ## ten times as many kills, flips, images and pairs (about half an hour)
	RESDEG_TRUST=10 $(BIN)/python -m pytest -n 2 tests/trust

mutants: $(STAMP) ## take each safety line away: a test must see it
	$(BIN)/python -m tests.trust.mutants

figures: $(STAMP) ## draw and report every published sweep again from its records
	$(BIN)/python -m tests.redraw

export: $(STAMP) ## copy the ended runs of a sweep, without weights: make export FROM=SWEEP TO=results/NAME
	$(BIN)/python -m tests.export $(FROM) $(TO)

rates: $(STAMP) ## how often a verdict is wrong: the tables of docs/method.md, from 1,000 simulated sweeps each
	$(BIN)/python -m tests.rates

scale: $(STAMP) ## what plan, status, figures and report cost on 10,000 planted runs, about 5 minutes
	$(BIN)/python -m tests.scale

clean: ## remove what was built; results stay
	rm -f resdeg/models/_norm_relu*.so
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
