# make run and make test set up everything they need in .venv; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?= kvgate.yaml
ENGINE_PYTHON ?= $(PYTHON)
ENGINE := .venv-engine
ENGINE_READY := $(ENGINE)/.ready
# One more than there are cores: many tests wait for something.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: help run test engine test-engine lint format proto clean bench-overhead bench-index bench-routing bench-policy docs grafana manifests constraints

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: $(READY) ## serve on http://localhost:8080 with three simulated replicas (CONFIG=file for your own)
	$(BIN)/kvgate run -c $(CONFIG)

test: $(READY) ## the whole suite, with a real Envoy
	@# A file is one worker's, since its tests share a gateway or a browser; those that take longest come first.
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

engine: $(READY) $(ENGINE_READY) ## serve with real engines on the CPU: two vLLM replicas, LMCache, Redis
	PATH="$$PATH:$(CURDIR)/$(BIN)" $(BIN)/kvgate run -c deploy/engine/kvgate.yaml

test-engine: $(READY) $(ENGINE_READY) ## the tests with real engines; some minutes, two cores and 12 GB of memory
	$(BIN)/pytest tests/engine

lint: $(READY) ## ruff and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## rewrite the code as ruff wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: ## compile proto/ into extproc/, with the oldest compiler that the dependencies allow
	@$(PYTHON) -m venv $(VENV)/proto
	$(VENV)/proto/bin/pip install --quiet grpcio-tools==1.80.0 xds-protos==1.80.0
	$(VENV)/proto/bin/python proto/compile.py extproc

bench-overhead: $(READY) ## what KVGate adds to a request, against plain Envoy
	$(BIN)/python -m bench.overhead

bench-index: $(READY) ## how fast the cache index is, and how much memory it takes
	$(BIN)/python -m bench.index

bench-routing: $(READY) ## routing policies on a virtual clock: two points of each workload (--grid has all)
	$(BIN)/python -m bench.routing --grid --quick --policies round_robin,least_busy,sglang,sticky,kvgate

bench-policy: $(READY) ## what limits, budgets and response caches cost, and whether they hold
	$(BIN)/python -m bench.policy

docs: $(READY) ## write docs/configuration.md and docs/metrics.md from the code
	$(BIN)/python -m tools.config_reference
	$(BIN)/python -m tools.metrics_reference

grafana: $(READY) ## write the Grafana dashboard from tools/grafana
	$(BIN)/python -m tools.grafana

manifests: $(READY) ## render deploy/kubernetes from the Helm chart
	$(BIN)/python -m tools.kubernetes_manifests

constraints: $(READY) ## pin the image's dependencies to the versions that are installed here
	$(BIN)/python -m tools.constraints

clean: ## remove the environment and caches
	rm -rf $(VENV) $(ENGINE) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "KVGate needs Python 3.10 or newer; try make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@# xds-protos brings older files of the same names; the last one installed is what is there.
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opentelemetry-proto
	@touch $@

$(ENGINE_READY): $(wildcard tools/engine/*.py tools/engine/*.txt tools/engine/models/*.py)
	@$(ENGINE_PYTHON) -m tools.engine --venv $(ENGINE)
	@touch $@
