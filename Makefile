# PineLab from the command line. `make` alone says what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
# Numeric libraries start a thread for each core they see, and then wait for one another.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

# The environment that settings ask for, where nothing is started and nothing is reached.
NOWHERE := SECRET_KEY=check TENANT_CONTEXT_KEY=check REDIS_URL=redis://127.0.0.1:1/0 \
	DATABASE_URL=postgresql://check@127.0.0.1:1/check

# What is installed belongs to these two files; other content, another stamp, another install.
WANTED := $(shell cat pyproject.toml deploy/constraints.txt | cksum | tr ' ' '-')
RUN := .venv/.run-$(WANTED)
DEV := .venv/.dev-$(WANTED)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--constraint deploy/constraints.txt

# Left out of `make test`: minutes rather than seconds.
EVERYDAY := not slow and not chaos_full and not browser_long

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(RUN) build ## the whole service on this machine (ARGS="--quiet --no-demo --only web,hooks")
	@exec $(BIN)/python manage.py up $(ARGS)

test: $(DEV) build ## the tests (PYTEST_ARGS="tests/apps/webhooks -k formats")
ifdef PYTEST_ARGS
	@PINELAB_CHROMIUM="$$($(BIN)/python -m tests.chromium)" $(BIN)/python -m pytest $(PYTEST_ARGS)
else
	@$(BIN)/python -m pinelab.frontend test
	@$(BIN)/python -m pytest -q -n auto --dist loadfile -m "$(EVERYDAY) and not chaos and not browser"
	@echo "Those that need the machine for themselves:"
	@PINELAB_CHROMIUM="$$($(BIN)/python -m tests.chromium)" \
		$(BIN)/python -m pytest -q -m "$(EVERYDAY) and (chaos or browser)"
endif

test-long: $(DEV) build ## those that take minutes
	@PINELAB_CHROMIUM="$$($(BIN)/python -m tests.chromium)" \
		$(BIN)/python -m pytest -m "slow or browser_long" $(PYTEST_ARGS)

chaos: $(DEV) build ## kill processes and cut lines under load
	@$(BIN)/python -m pytest tests/chaos -m "chaos or chaos_full" $(PYTEST_ARGS)

bench: $(DEV) ## the benchmarks (ONLY=name for one)
	@$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

check: $(DEV) build ## style, types, import rules, migrations, front end, links of the documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(NOWHERE) $(BIN)/mypy .
	$(BIN)/lint-imports
	$(NOWHERE) $(BIN)/python -W ignore manage.py makemigrations --check --dry-run
	$(BIN)/python -m pinelab.frontend check
	$(BIN)/python -m tests.links

format: $(DEV) ## put the code into the house's shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(RUN) ## the front end, if it changed
	@$(BIN)/python -m pinelab.frontend build

clean: ## remove what was built and installed here; var/, the data, stays
	rm -rf .venv *.egg-info static/dist static/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find pinelab apps ml tests -name __pycache__ -prune -exec rm -rf {} +

$(RUN): | .venv/bin/python
	@echo "Installing the packages of PineLab ..."
	@$(PIP) --editable .
	@rm -f .venv/.run-* .venv/.dev-* && touch $@

$(DEV): | .venv/bin/python
	@echo "Installing the packages of PineLab and of its tests ..."
	@$(PIP) --editable '.[dev]'
	@rm -f .venv/.run-* .venv/.dev-* && touch $(RUN) $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "PineLab needs Python 3.11 or later: install it, or name it with PYTHON=."; exit 1; }
	@$(PYTHON) -m venv .venv

.PHONY: help run test test-long chaos bench check format build clean
