# The two commands a newcomer needs: `make demo` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := deploy/requirements/dev.txt
export PYTHONUTF8 := 1

.PHONY: help setup demo run check test lint types contracts unit tests coverage bench bench-engine chaos lock clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-13s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## virtual environment with the pinned dependencies

$(VENV)/.installed: $(REQUIREMENTS) pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, this is $$($(PYTHON) -V)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies (a few minutes the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -e .
	@touch $@

demo: setup ## run the main job from end to end on a local stack, and show it
	@$(BIN)/infill demo

run: setup ## serve on port 8000 until Ctrl-C; data stays in .infill/
	@$(BIN)/infill up --home .infill --port 8000

check: lint types contracts unit ## lint, types, import contracts and unit tests, in under three minutes

test: lint types contracts tests ## everything that has to hold

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

unit: setup
	$(BIN)/pytest -q -n auto --maxprocesses 4 --dist loadfile tests/unit

# One process per core, each with its own servers; the tests of a file stay in one process. Files run
# in their order: the long ones must not come last, when nothing is left to run beside them.
tests: setup
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

coverage: setup ## the tests again, counting the lines and branches they reach
	$(BIN)/coverage erase
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-fail-under=95

bench: setup ## speeds, each beside a baseline of the same run
	$(BIN)/python -m tests.bench

bench-engine: setup ## the generation engine beside a plain diffusers pipeline, on GPU or CPU
	$(BIN)/python -m tests.bench.engine

chaos: setup ## kill and cut off everything under load, and show that nothing was lost (10 minutes)
	$(BIN)/python -m tests.chaos

lock: setup ## renew the pinned requirements
	for set in "base" "worker --extra=worker" "dev --extra=worker --extra=local --extra=dev"; do \
	  name=$${set%% *}; extras=$${set#$$name}; \
	  $(BIN)/pip-compile --quiet --upgrade --no-header --no-annotate --strip-extras --allow-unsafe \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host $$extras \
	    -o deploy/requirements/$$name.txt pyproject.toml || exit 1; \
	done
	sed -i -e 's/^torch==\([0-9.]*\)+.*/torch==\1/' -e '/^# The following/d' deploy/requirements/*.txt

clean: ## remove what was built here, the environment included
	rm -rf $(VENV) .infill .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
