# make local   enhance the demo videos on this machine
# make test    all tests
# make docs    the site, into site/
# make check   what a commit must pass: format, lint, types, layers (make lint), and the fast tests

PYTHON ?= python3
# every worker is a process of its own: without compiled files each spends 9 s more on its imports
export PYTHONDONTWRITEBYTECODE :=
BIN := .venv/bin
INSTALLED := .venv/installed

MAKEFLAGS += --jobs=2
.PHONY: local test docs check lint style types layers format train clean

local: $(INSTALLED)
	$(BIN)/evs-batch run manifests/demo.parquet --recipe demo --output out/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint
	$(BIN)/python -m pytest -m "not ray and not slow"

lint: style types layers

style: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/pyright

layers: $(INSTALLED)
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(INSTALLED)
	$(BIN)/python -m evs_batch.tiny train

clean:
	rm -rf .venv build out site

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "evs-batch needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	touch $@
