# tocsin: everything a person or CI does here. Needs Python 3.11 or later with venv, and make.

# The first Python that is new enough; python3 if none is, so that the message below names it.
PYTHON ?= $(or $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PROJECT := pyproject.toml src/tocsin/__init__.py
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(LOCK) pyproject.toml
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint format docs lock clean
.DELETE_ON_ERROR:

help:
	@echo "make demo     a generated week with attacks: run everything, show what is found"
	@echo "make test     run the tests                       (ARGS='-k settings' for some)"
	@echo "make bench    measure every claim in bench/       (ARGS='hbos' for those whose name has it)"
	@echo "make lint     ruff check, ruff format, mypy"
	@echo "make format   put the sources into shape"
	@echo "make docs     renew docs/settings.md from the settings' schema"
	@echo "make lock     renew requirements/*.lock           (ARGS=--upgrade for newer versions)"
	@echo "make clean    remove .venv, caches and build outputs"

demo: $(VENV)/.runtime
	$(BIN)/tocsin demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.bench
	@mkdir -p bench/results
	@set -e; for script in bench/*$(ARGS)*.py; do \
		[ -e "$$script" ] || { echo "make: no script in bench/ has '$(ARGS)' in its name" >&2; exit 2; }; \
		echo "== $$script"; $(BIN)/python "$$script"; done

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(VENV)/.dev
	$(BIN)/tocsin config schema --markdown > docs/settings.md

lock: $(VENV)/.dev
	$(PIP) install --quiet uv
	$(COMPILE) --group build -o requirements/runtime.lock
	$(COMPILE) --group dev -c requirements/runtime.lock -o requirements/dev.lock
	$(COMPILE) --group bench -c requirements/runtime.lock -c requirements/dev.lock -o requirements/bench.lock
	@echo "Now run make test, then commit requirements/ together with pyproject.toml."

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp a lock file: nothing is installed again until it, or the project's own metadata, changes.
$(VENV)/.runtime $(VENV)/.dev $(VENV)/.bench: $(VENV)/.%: requirements/%.lock $(PROJECT) | $(VENV)/pyvenv.cfg
	@echo "== installing $$(grep -c == $<) packages from $< into $(VENV) (a few hundred megabytes, one to three minutes)"
	$(PIP) install --no-deps -r $<
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: tocsin needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Say which: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: this Python has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "== creating $(VENV) with $$($(PYTHON) -V)"
	$(PYTHON) -m venv $(VENV)
