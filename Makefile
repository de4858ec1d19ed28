# Everything works in a fresh clone. Each target first sets up what it needs, cheaply if it is there.
#
#   make setup        .venv with all that a developer needs
#   make check        lint, format, types, architecture, napari manifest
#   make test         set up and run the tests;  PYTEST="-k phantom" passes words to pytest
#   make demo         segment both hippocampi of a head MRI that a Python package carries
#   make docs         the documentation, in build/docs
#   make bench        seconds and memory of whole cases, ours and peers' (more than an hour)
#   make wheel        the distribution, in dist
#   make constraints  renew constraints.txt from .venv
#
# PYTHON=python3.12  which Python makes .venv
# PIP_ARGS=...       more words for `pip install`, such as an index that has torch for CPU only

PYTHON ?= python3
PIP_ARGS ?=
PYTEST ?=
WORKERS ?= 2
DEMO ?= demo

# The modules that `make docs` describes.
API := unetr_app $(addprefix unetr_app.,errors geometry labels volume cases datasets io resample bundle \
	inference batch evaluation explain finetuning pictures review networks training)

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt $(PIP_ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup check format test demo docs bench wheel constraints clean

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: an environment is renewed when what it is made from is newer. A developer's environment
# is good for the demonstration too.
$(VENV)/.setup: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable ".[all,dev]"
	@touch $@ $(VENV)/.demo

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable ".[demo]"
	@touch $@

setup: $(VENV)/.setup

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/npe2 validate unetr_app/napari/napari.yaml
	$(BIN)/pyright

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each worker keeps to one thread: many small tests go faster so than a few on all cores.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) $(PYTEST)

demo: $(VENV)/.demo
	$(BIN)/unetr demo --output $(DEMO)

docs: setup
	$(BIN)/zensical build --clean --strict
	$(BIN)/pdoc --docformat google --output-directory build/docs/api $(API)

bench: setup
	$(BIN)/python benchmarks/inference.py

wheel: setup
	$(BIN)/python -m build --outdir dist

constraints: setup
	$(BIN)/python .ci/constraints.py constraints.txt
	@touch $(VENV)/.setup $(VENV)/.demo

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
