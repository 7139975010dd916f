.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help:  ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Set in some containers; without bytecode on disk each process compiles Beam anew, which takes seconds.
unexport PYTHONDONTWRITEBYTECODE

$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Give a newer Python: make PYTHON=python3.12 ... (the package itself runs on 3.10)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]' || \
		$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' # uv does not read pip's settings
	@touch $(STAMP)

setup: $(STAMP)  ## Make .venv with everything in it, in the versions of constraints.txt

constraints: $(STAMP)  ## Renew the versions in constraints.txt, and those of the image: [PACKAGES="NAME ..."]
	scripts/pin-versions $(PACKAGES)

demo: $(STAMP)  ## Import 100,000 events into an emulator, twice, and prove that each is there once
	$(BIN)/python -m benchmarks.demo

WORKERS ?= auto

test: $(STAMP)  ## Run all tests but those of test-engines, in a process a core: [WORKERS=N]
	$(BIN)/python -m pytest -m 'not engines' --numprocesses $(WORKERS) --dist loadfile

test-fast: $(STAMP)  ## Run the tests of the core, which need no Beam
	$(BIN)/python -m pytest tests/core --numprocesses $(WORKERS) --dist loadfile

test-engines: $(STAMP)  ## Run one pipeline on Prism, Flink and the runners of Python; fetches the engines first
	scripts/fetch-engines || test "$$BEAM_MIXPANEL_REQUIRE_ENGINES" != 1
	$(BIN)/python -m pytest -m engines tests/engines

check: $(STAMP)  ## Lint, types, layers
	scripts/check

test-pythons: $(STAMP)  ## Run tests with each Python there is, and with the lowest versions allowed
	scripts/test-pythons

test-newest: $(STAMP)  ## Run all tests but those of test-engines with the newest of everything, in a venv of its own
	scripts/test-pythons newest

dist: $(STAMP)  ## Make wheel, sdist and the image's SBOM (CycloneDX) in dist/, and check them
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/cyclonedx-py requirements templates/constraints.txt --output-file dist/sbom.json

bench: $(STAMP)  ## Measure the pipeline beside a hand-written script, the stages alone, and then rows
	$(BIN)/python -m benchmarks.bench
	$(BIN)/python -m benchmarks.rows

bench-rows: $(STAMP)  ## Measure rows of files and of PostgreSQL beside npm's mixpanel-import
	$(BIN)/python -m benchmarks.rows

bench-flink: $(STAMP)  ## Measure one TaskManager of Flink beside two; needs scripts/fetch-engines
	$(BIN)/python -m benchmarks.flink

bench-stream: $(STAMP)  ## Measure streams by chunks beside GroupIntoBatches, on FnApiRunner, Prism and Flink if fetched
	$(BIN)/python -m benchmarks.stream

bench-limits: $(STAMP)  ## Measure how much of a rate limit is used, and how many requests it refuses
	$(BIN)/python -m benchmarks.limits

bench-refusals: $(STAMP)  ## Count the requests that refusals cost which name no event
	$(BIN)/python -m benchmarks.refusals

CASES ?= inf
SECONDS ?= $(if $(filter inf,$(CASES)),60,inf)
SEED ?= 1
PROCESSES ?= 1

fuzz: $(STAMP)  ## Feed hostile input to the core: [SECONDS=60] [CASES=N] [SEED=1] [PROCESSES=1]
	$(BIN)/python -m fuzz --seconds $(SECONDS) --cases $(CASES) --seed $(SEED) --processes $(PROCESSES)

docs: $(STAMP)  ## Build the documentation as a site: site/index.html
	$(BIN)/sphinx-build -q -E -W --keep-going -c docs -d build/doctrees . site

docs-links: $(STAMP)  ## Ask for every page of others that the documentation links to; needs a network
	$(BIN)/sphinx-build -q -b linkcheck -c docs -d build/doctrees . build/links

clean:  ## Remove .venv and what tools left behind
	rm -rf $(VENV) build dist site docs/_generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help setup demo test test-fast constraints test-engines test-pythons test-newest dist check bench bench-rows bench-flink bench-stream bench-limits bench-refusals fuzz docs docs-links clean
