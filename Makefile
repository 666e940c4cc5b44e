# Waystation's commands for people and CI. `make` alone lists them.
#
# Every target that needs Python packages goes through `install`, which does nothing when the
# environment in .venv is newer than pyproject.toml.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
JOBS   ?= 3
MESSAGES ?= 5000
ROUNDS ?= 3
OPTIONS ?=
SECONDS ?= 60
TARGET ?=
MINUTES ?= 15
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test check unit programs format bench bench-peers bench-memory bench-profile fuzz durability soak \
	images image-check image-lock cluster-up cluster-down cluster-lane test-cluster clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "; print "Targets:"} /^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv with everything for development (nothing to do when it is up to date)
	@:

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"error: {sys.executable} is Python {v[0]}.{v[1]}; Waystation needs 3.11 or newer (name one: make PYTHON=/path/to/python3)")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) cannot create virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "==> creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "==> installing Waystation and what its development needs (about a minute)"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[dev]' | sed -u -n 's/^Collecting \([A-Za-z0-9_.-]*\).*/    \1/p'
	@$(BIN)/waystation --version
	@touch $@

demo: install ## Send mails through a relay on this machine and show what became of each
	@$(BIN)/python -m demo.run

test: install programs check unit ## Run every check and every test except those of a Kubernetes cluster

programs:
	@echo "==> programs the tests start"
	@$(BIN)/python -m tests.support.programs

check: install ## Format, lint, types, layers, documentation: everything that needs no running program
	@echo "==> format"
	@$(BIN)/ruff format --check .
	@echo "==> lint"
	@$(BIN)/ruff check .
	@echo "==> types"
	@$(BIN)/mypy
	@echo "==> layers"
	@$(BIN)/lint-imports --no-logo
	@echo "==> documentation"
	@$(BIN)/pytest -q --no-header tests/docs

unit: install
	@echo "==> tests"
	@$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=5 \
		--ignore=tests/docs --ignore=tests/cluster --cov=operator --cov=relay --cov-report=
	@echo "==> coverage of the lines that ran inside the tests' own processes: $$($(BIN)/coverage report --format=total) % (details: $(BIN)/coverage report)"

format: install ## Rewrite the source as the formatter and the safe lint fixes want it
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install ## Compare with Postfix and what else is there (MESSAGES=5000 ROUNDS=3 OPTIONS=--docs)
	@$(BIN)/python -m bench.compare --messages $(MESSAGES) --rounds $(ROUNDS) $(OPTIONS)

bench-peers: install ## Fetch what benchmarks can use: Exim and Haraka into a cache, matplotlib and py-spy into .venv
	@$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[bench]'
	@$(BIN)/python -m bench.peers

bench-memory: install ## Memory and start-up time with up to a million queued messages (6 GB of disk)
	@$(BIN)/python -m bench.memory $(OPTIONS)

bench-profile: install ## Where the relay's time goes, by step and by function
	@$(BIN)/python -m bench.profiling $(OPTIONS)

fuzz: install ## Fuzz the parsers, guided by coverage (SECONDS=60 each, TARGET=server or several; all without)
	@$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[fuzz]'
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGET)

durability: ROUNDS = 20
durability: install ## Kills, power cuts, failing disks and damage for longer (ROUNDS=20: some ten minutes)
	@DURABILITY_ROUNDS=$(ROUNDS) $(BIN)/pytest -q --no-header -n $(JOBS) tests/fault tests/crash tests/handoff tests/dispatch/test_life.py tests/wire tests/bounce

soak: install ## Mixed traffic through one relay: memory, descriptors and losses watched (MINUTES=15)
	@$(BIN)/python -m tests.load.soak --minutes $(MINUTES)

images: install ## Build the images the cluster tests run, without an image registry (root; 3 minutes once, then seconds)
	@$(BIN)/python -m tests.cluster.images build

image-check: install ## Test the images: contents, size, the same digest twice, a mail through a confined relay (root)
	@$(BIN)/pytest -q --no-header tests/cluster/images

image-lock: install ## Write images/*.txt anew: the newest libraries that pyproject.toml allows, with their hashes
	@$(BIN)/python images/lock.py

cluster-up: install ## Start a Kubernetes of one node on this machine (root; builds it first: some 12 minutes, once)
	@$(BIN)/python -m tests.cluster up

cluster-down: install ## Stop that Kubernetes and remove all it left
	@$(BIN)/python -m tests.cluster down

cluster-lane: install ## Test what needs an API server but no node (tests/cluster/lane; no root)
	@$(BIN)/python -m tests.cluster test-lane

test-cluster: install ## Test on a real Kubernetes (TESTS=tests/cluster/e2e; WAYSTATION_CONTEXT=NAME takes one of KUBECONFIG)
	@TESTS='$(TESTS)' $(BIN)/python -m tests.cluster test

clean: ## Remove .venv, caches and the local mode's data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .waystation .fuzz build dist bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
