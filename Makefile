# Each target sets up what it needs by itself; on a fresh Debian machine: Python 3.11+, Go and root are enough.
# Built binaries and images are kept in $WAYPOST_CACHE (default ~/.cache/waypost), keyed by version.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/ready
PROVIDER ?= local
NODES ?= 2
SCHEDULES ?= 100000
SEED ?= 0
KILLS ?= 10000
RACES ?= 1000
THROUGH ?= 100

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | column -ts$$'\t'

$(READY): pyproject.toml requirements-dev.lock dev/setup.sh
	@dev/setup.sh $(VENV)
	@touch $@

setup: $(READY) ## Create .venv from the lock file

demo: $(READY) ## A real cluster, a real eviction, a task that resumes where it stood
	@$(PYTHON) -m examples.demo --provider $(PROVIDER)

test: $(READY) ## Everything that must hold at every change: unit, integration, end to end
	@$(PYTHON) -m tests.suites test

test-fast: $(READY) ## Unit tests, without those that explore for long
	@$(PYTHON) -m tests.suites fast

test-all: $(READY) ## `test`, every kind of disruption, and the breaking patches of `mutants`
	@$(PYTHON) -m tests.suites all

torture: $(READY) ## Kill and freeze real writers at random points (KILLS=10000 RACES=1000 SEED=0)
	@$(PYTHON) -m tests.torture --kills $(KILLS) --races $(RACES) --seed $(SEED)

torture-large: $(READY) ## Save and restore one dense file on a real S3 server, compared by SHA-256 (GIB=5.1)
	@$(PYTHON) -m tests.torture.large --gib $(or $(GIB),5.1)

mutants: $(READY) ## One breaking patch per promise, and the named test that goes red
	@$(PYTHON) -m tests.mutants

simulate: $(READY) ## The real store code through many schedules (SCHEDULES=100000 SEED=0 JOBS= LIMIT= CAST=)
	@$(PYTHON) -m tests.simulator --schedules $(SCHEDULES) --seed $(SEED) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(LIMIT),--seconds $(LIMIT)) $(if $(CAST),--cast '$(CAST)')

holes: $(READY) ## Each hole that the protocol closes, put back, and how soon the simulator finds it
	@$(PYTHON) -m tests.simulator.dig

lint: $(READY) ## Style, types and the layers of the house
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

generate: $(READY) ## Write the generated files: CRD, chart copy, install.yaml, lock files
	@$(PYTHON) -m dev.generate

verify: $(READY) ## Fail when a generated file differs from what its source says
	@$(PYTHON) -m dev.generate --check

model: $(READY) ## Explore the store's protocol in large bounds, and print the table of docs/protocol.md (RUNS='F9 E2')
	@$(PYTHON) -m tests.model $(RUNS)
	@[ -n "$(RUNS)" ] || $(PYTHON) -m tests.model.scoped

fuzz: $(READY) ## Fuzz everything that reads what somebody else may have written (SECONDS=60)
	@$(PYTHON) -m tests.fuzz --seconds $(or $(SECONDS),60)

bench: $(READY) ## Move checkpoints beside the peers and the machine's limits (ONLY='upload tiny' ROUNDS= SIZE=MIB WRITE=1)
	@$(PYTHON) -m tests.bench $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SIZE),--size $(SIZE)) $(if $(WRITE),--write)

bench-relaunch: $(READY) ## Time from the old pod's end to the new one, beside a Job and a StatefulSet (THROUGH=100)
	@$(PYTHON) -m tests.bench.relaunch --through $(THROUGH) --provider $(PROVIDER)

chaos: $(READY) ## 200 tasks, ten minutes of disruptions, operator and API server killed (TASKS= LIMIT= SEED=0)
	@$(PYTHON) -m tests.chaos --tasks $(or $(TASKS),200) --seconds $(or $(LIMIT),600) --seed $(SEED)

compare: $(READY) ## The same three misfortunes under flytekit and Waypost; writes docs/comparison.md
	@$(PYTHON) -m examples.compare

cluster-up: $(READY) ## Start the cluster alone (PROVIDER=local|kind|existing NODES=2)
	@$(PYTHON) -m tests.cluster up --provider $(PROVIDER) --nodes $(NODES)

cluster-down: $(READY) ## Stop the cluster and remove every trace of it
	@$(PYTHON) -m tests.cluster down --provider $(PROVIDER)

clean: ## Remove what the targets made inside this folder
	@rm -rf $(VENV) .waypost .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help setup demo test test-fast test-all torture torture-large mutants simulate holes lint generate verify model fuzz bench bench-relaunch chaos compare cluster-up cluster-down clean
