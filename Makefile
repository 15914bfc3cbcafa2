# `make run` and `make test` are all that is needed on a bare machine with python3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run test lint clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' $(MAKEFILE_LIST)

run: $(STAMP) ## the whole run: train, validate, stress, gate, dossier
	$(BIN)/superalign run

test: lint ## lint, types, then all tests
	$(BIN)/pytest -q -n 2 --dist loadfile

lint: $(STAMP) ## style, floors of the house, types
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/lint-imports
	$(BIN)/mypy

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first in one call with everything else, at the version that constraints.txt pins.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		[ "$$(id -u)" = 0 ] || { echo "$(PYTHON) cannot make a virtual environment: install python3.11-venv" >&2; exit 1; }; \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; }
	@command -v bwrap >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		{ apt-get update -qq; apt-get install -y -qq --no-install-recommends bubblewrap; }; } || \
		echo "no bubblewrap: the sandbox falls back to Landlock, see superalign doctor" >&2
	[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt torch -e ".[local,inspect,trl,test,lint]"
	@touch $@
