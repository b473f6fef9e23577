# make demo | test | notebooks | bench | lint | docs | dist | clean.  Needs python3 >= 3.11 and a network for the first install.
# PYTHON=python3.12 chooses the interpreter; DEMO_FLAGS, TEST_FLAGS and BENCH_FLAGS are passed
# on; tests run in TEST_JOBS processes, one for each core unless that is given, but two at least: all
# that the suite compiles takes more mappings than Linux gives one process.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow notebooks bench bench-gpu lint format docs dist clean FORCE

# A caller's own paths must not shadow what is installed in .venv.
unexport PYTHONPATH PYTHONHOME

VENV := .venv
BIN := $(VENV)/bin
DEMO_FLAGS ?= --outdir runs/demo
TEST_FLAGS ?=
BENCH_FLAGS ?=
TEST_JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); test $$n -ge 2 || n=2; echo $$n)

# The first interpreter that starts, is new enough and can make environments. A name on the PATH may
# be a shim that fails, so each is tried.
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.12 python3.11 python3.13 python3.14; do \
	if $$p -c '$(USABLE)' >/dev/null 2>&1; then echo $$p; exit; fi; done; echo python3)
endif

# An installation belongs to one interpreter and one folder (an editable install holds the path).
# Stamps are named after both, and forced when the environment does not start.
IDENTITY := $(shell { pwd; $(PYTHON) -c 'import sys; print(sys.version, sys.base_prefix)'; } \
	2>/dev/null | cksum | cut -d ' ' -f 1)
MINOR := $(shell $(PYTHON) -c 'import sys; print(min(max(sys.version_info[1], 11), 13))' 2>/dev/null)
CONSTRAINTS := constraints/py3$(MINOR).txt
HEALTHY := $(shell $(BIN)/python -c 'import mm_jax' 2>/dev/null && echo yes)
SOURCES := setup.cfg pyproject.toml $(wildcard constraints/*.txt) $(if $(HEALTHY),,FORCE)
MADE := $(VENV)/.made-$(IDENTITY)
CORE := $(VENV)/.core-$(IDENTITY)
TOOLS := $(VENV)/.tools-$(IDENTITY)
SITE := $(VENV)/.site-$(IDENTITY)
JUPYTER := $(VENV)/.jupyter-$(IDENTITY)
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c $(CONSTRAINTS)

help:
	@echo "make demo    find and transfer five micromotions; writes runs/demo/report.html"
	@echo "make test    the tests (TEST_FLAGS='-k name' for some of them); test-slow for the slow ones"
	@echo "make notebooks  run the notebooks; their outputs go into the site"
	@echo "make bench   speed, beside the machine's limits (BENCH_FLAGS='--peer-path DIR')"
	@echo "make bench-gpu  the same of a GPU, in one run of at most eight minutes"
	@echo "make lint    formatting, lint and types"
	@echo "make docs    the site, from Markdown and code, in build/site"
	@echo "make dist    sdist and wheel in dist/, checked"
	@echo "make clean   remove the environment and caches; runs/ stays"

demo: $(CORE)
	@$(BIN)/mm_demo $(DEMO_FLAGS)
	@echo "For the programs in this shell: source $(BIN)/activate"

test: $(TOOLS)
	@$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile $(TEST_FLAGS)

test-slow: $(TOOLS)
	@$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile -m slow $(TEST_FLAGS)

# Copies, so that the notebooks of the repository stay without outputs.
notebooks: $(JUPYTER)
	@rm -rf build/notebooks && mkdir -p build && cp -R notebooks build/notebooks
	@$(BIN)/python -m pytest -n $(TEST_JOBS) --nbmake --nbmake-timeout=900 --overwrite build/notebooks

bench: $(CORE)
	@$(BIN)/python -m benchmarks $(BENCH_FLAGS)

bench-gpu: $(CORE)
	@$(BIN)/python -m benchmarks.gpu $(BENCH_FLAGS)

lint: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python tests/typed.py
	$(BIN)/shellcheck cluster/*.sh .ci/run

format: $(TOOLS)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(SITE)
	@$(BIN)/python -m docs.live
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "Open build/site/index.html in a browser."

dist: $(TOOLS)
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	DIST=dist $(BIN)/python -m pytest -q tests/test_dist.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(MADE): $(if $(HEALTHY),,FORCE)
	@if ! $(PYTHON) -c '$(USABLE)' >/dev/null 2>&1; then \
		echo "Python 3.11 or newer with its venv module is wanted;" \
			"$(PYTHON) is: $$($(PYTHON) --version 2>&1 | head -n 1)" >&2; \
		echo "Name another one: make PYTHON=/path/to/python3.12 ..." >&2; \
		exit 1; \
	fi
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(CORE): $(MADE) $(SOURCES)
	@echo "Installing (a few minutes the first time)"
	@$(PIP) -e .
	@touch $@

$(TOOLS): $(CORE) $(SOURCES)
	@echo "Installing test and lint tools"
	@$(PIP) -e '.[test,dev]'
	@touch $@

$(SITE): $(CORE) $(SOURCES)
	@echo "Installing the tools of the site"
	@$(PIP) -e '.[docs]'
	@touch $@

$(JUPYTER): $(CORE) $(SOURCES)
	@echo "Installing what runs notebooks"
	@$(PIP) -e '.[test-notebooks]'
	@touch $@

FORCE:
