# Two commands are all a fresh machine needs: make demo, make test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo tutorial test test-fast bench bench-blind bench-quality docs lint format clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: $(STAMP)  ## create .venv and install esm with its extras (skipped when up to date)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		-c constraints.txt -e '.[offline,multilingual,dev,docs]'
	touch $(STAMP)

demo: setup  ## the whole job on generated data with the offline encoder
	$(BIN)/esm demo

tutorial: setup  ## every command of docs/tutorial.md, as written (after the demo)
	test -d runs/demo/pool || $(MAKE) demo
	$(BIN)/python -m docs.run_tutorial

test: setup  ## the whole test suite (TESTS=tests/unit/maps: a part of it)
	$(PYTEST) $(TESTS)

test-fast: setup  ## the suite without the slow tests
	$(PYTEST) -m "not slow"

bench: setup  ## speed, memory and exactness against hf-dataset-selector (BENCH=--quick: rough)
	$(BIN)/python -m benchmarks.speed $(BENCH)

bench-blind: setup  ## how often maps, deltas and whole encoders find a planted source (SEEDS=24)
	$(BIN)/python -m benchmarks.blind --seeds $(or $(SEEDS),24)

bench-quality: setup  ## the verdict on selectors, from the committed results
	$(BIN)/python -m benchmarks.fit_forecast
	$(BIN)/python -m benchmarks.quality

docs: setup  ## the pages of docs/ as a site in site/; a broken link or anchor fails (read it: .venv/bin/zensical serve)
	$(BIN)/zensical build --strict --clean

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .venv-peer .mypy_cache .ruff_cache .pytest_cache .cache site
