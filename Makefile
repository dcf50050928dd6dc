# Targets make .venv and need nothing but Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv does not read pip's configuration: what pip is told about indexes and wheels is passed on.
PIPCONF = $(shell $(BIN)/pip config get $(1) 2>/dev/null)
export UV_FIND_LINKS ?= $(or $(PIP_FIND_LINKS),$(call PIPCONF,global.find-links))
export UV_DEFAULT_INDEX ?= $(or $(PIP_INDEX_URL),$(call PIPCONF,global.index-url))
UV = VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
PYTEST ?= $(BIN)/pytest -q
MINUTES ?= 1

.PHONY: demo test lint bench fuzz lock clean

demo: $(VENV)/.installed
	$(BIN)/harness demo

test: $(VENV)/.dev
	$(PYTEST) tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/gate.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/compare.py

fuzz: $(VENV)/.dev
	$(BIN)/python tests/fuzz/fuzz_comparators.py --minutes $(MINUTES)

lock: $(VENV)/.dev
	for name in requirements requirements-dev; do $(UV) pip compile -q --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-annotate --no-header $$name.in -o $$name.lock || exit; done

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q uv

$(VENV)/.installed: $(BIN)/uv requirements.lock pyproject.toml
	$(UV) pip install -q --no-deps --require-hashes --compile-bytecode -r requirements.lock
	$(UV) pip install -q --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q harness
	touch $@

$(VENV)/.dev: $(VENV)/.installed requirements-dev.lock
	$(UV) pip install -q --no-deps --require-hashes -r requirements-dev.lock
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
