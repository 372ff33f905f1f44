# make PYTHON=python3.12 takes another interpreter; 3.11 or newer.
PYTHON ?= python3.11

# The extras whose tests run here; the other frameworks pin versions of their own.
EXTRAS := fit,embedding,figures,serve,notebook,openai,inspect,lm-eval,parquet

BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help venv demo test web lint format bench clean

help:  ## list these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

venv: $(STAMP)  ## build .venv with the pinned versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: expected Python 3.11 or newer as '$(PYTHON)', found no such command: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: expected Python 3.11 or newer, found $$($(PYTHON) --version): make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	$(PIP) install --quiet -c constraints.txt torch
	$(PIP) install --quiet -c constraints.txt -e '.[$(EXTRAS)]' --group dev
	$(BIN)/python -c 'from heed.attention.distance.native import status; print("attention kernel:", status())'
	@touch $@

demo: venv  ## judge the shipped examples and write demo/heed-demo.html
	$(BIN)/heed models pull
	@mkdir -p demo
	$(BIN)/heed demo --page demo/heed-demo.html

test: venv lint web  ## everything that must hold; ends with pytest
	@$(BIN)/heed models pull || echo "the embedded model could not be brought: the tests that need it are skipped" >&2
	$(BIN)/pytest

web:  ## the viewer: types, tests, and its bundle as committed (needs Node 20 or newer)
	@command -v npm >/dev/null && (cd web && npm install --no-save --no-audit --no-fund --silent) && touch web/node_modules/.brought \
		|| echo "Node's packages could not be brought: the viewer's own tests are skipped" >&2
	@test ! -e web/node_modules/.brought || (cd web && npm run --silent check)

lint: venv  ## style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: venv  ## put the source into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: venv  ## measure every claim on this machine
	$(BIN)/heed models pull
	$(BIN)/python benchmarks/run.py

clean:  ## remove what was built here; models stay (`heed cache clear`)
	rm -rf .venv web/node_modules demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
