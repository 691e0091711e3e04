# `make demo` and `make test` need Python 3.11, make and a package index; they make .venv themselves.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup demo test test-all check docs notebooks

setup: .venv/installed

# torch first and alone: with the constraint, the build that fits this machine is found, and
# nothing after it pulls another.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/interp demo --to demo

# A process for each core, each with one thread: the networks are too small for more.
test: export OMP_NUM_THREADS = 1
test: setup
	$(BIN)/python -m pytest -n auto -m "not slow and not gpu and not slurm"

test-all: test
	$(BIN)/python -m pytest -m "slow or gpu or slurm"

# The theme's notice about mkdocs 2 is silenced: the dependency is pinned below it.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# With outputs: static pictures, so that the files stay small.
notebooks: export PLOTLY_RENDERER = png
notebooks: export OMP_NUM_THREADS = 1
notebooks: export PATH := $(CURDIR)/$(BIN):$(PATH)
notebooks: setup
	$(BIN)/jupytext --quiet --to ipynb paper/notebooks/*.py
	$(BIN)/jupyter execute --inplace paper/notebooks/*.ipynb

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
