# `make` alone lists the targets. Every target that needs .venv makes it first.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
export PYTHON
unexport PYTHONDONTWRITEBYTECODE # an interpreter that compiles at each start takes twice as long
export IBKR_EXPORTER_CLIENTS_DIR ?= $(CURDIR)/build/clients

bin := .venv/bin
ready := .venv/.ready
args ?=
# Most tests wait for a process or a deadline, so more of them run at a time than there are cores.
several := -n 8 --no-loadscope-reorder

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

.PHONY: setup
setup: $(ready) ## make .venv: uv where present, else venv and pip

$(ready): pyproject.toml requirements/dev.txt scripts/setup scripts/find-python
	@scripts/setup

.PHONY: demo
demo: $(ready) ## simulated gateways, each with another fault, and the exporter watching them
	@$(bin)/ibkr-exporter demo $(args)

.PHONY: test
test: $(if $(args),$(ready),small-clients small-kubernetes) ## all tests, eight at a time; args="-k wire" for some of them, one by one
	@$(bin)/python -m pytest $(if $(args),$(args),$(several))

# A third of the time is pytest's own: what these tests do not use is left out.
core := -q tests/core -m 'not slow' --hypothesis-profile=quick --capture=sys -p no:logging
.PHONY: test-core
test-core: $(ready) ## the tests that wait for nothing, in seconds, with few of the generated examples
	@$(bin)/python -m pytest $(core) $(args)

.PHONY: coverage
coverage: small-clients small-kubernetes ## all tests, and which lines of the package they do not run
	@$(bin)/python -m pytest $(several) --cov --cov-report=term $(args)

# The packages without I/O, by the quick tests alone: what the whole suite would tell takes twice its time.
pure := maintenance metrics model protocol state text verdict web.pages
.PHONY: coverage-core
coverage-core: $(ready) ## test-core, and that it runs 93 % of the packages without I/O
	@$(bin)/python -m pytest $(core) $(pure:%=--cov=exporter.%) --cov-report=term --cov-fail-under=93 $(args)

.PHONY: clients
clients: $(ready) ## install all client libraries for the tests (2 GB); IBKR_EXPORTER_CLIENTS_DIR moves them
	@$(bin)/ibkr-exporter clients install $(args)

# The small ones, in seconds. Where that fails, the tests of the library that is missing are skipped with its name.
.PHONY: small-clients
small-clients: $(ready)
	@printed=$$($(bin)/ibkr-exporter clients install ib_async ib_insync ibapi 2>&1) && \
		[ "$${printed#*installing}" = "$$printed" ] || printf '%s\n' "$$printed"

# Where that fails, tests/deploy is skipped.
.PHONY: small-kubernetes
small-kubernetes: $(ready)
	@printed=$$(scripts/kubernetes-tools 2>&1) || printf '%s\n' "$$printed"

.PHONY: kubernetes-tools
kubernetes-tools: $(ready) ## helm, kubectl and the schemas of Kubernetes into build/kubernetes (60 MB), for tests/deploy
	@scripts/kubernetes-tools $(args)

.PHONY: chart
chart: kubernetes-tools ## dist/ibkr-exporter-VERSION.tgz, the Helm chart with the rules and dashboards in it
	@build/kubernetes/bin/helm package deploy/helm/ibkr-exporter --destination dist

.PHONY: kustomize
kustomize: kubernetes-tools ## deploy/kustomize, made from the chart
	@$(bin)/python -m deploy.kubernetes rules bases

.PHONY: axe
axe: $(ready) ## the pages in Chromium: axe-core, the keyboard, first paint (needs npm); args="--screenshots FOLDER"
	@[ -d build/axe/node_modules/axe-core ] || npm install --silent --no-audit --no-fund --prefix build/axe axe-core@4.14.1
	@$(bin)/python -m tests.browser.look build/axe/node_modules $(args)

.PHONY: check
check: $(ready) ## formatting, lint, types, the order of imports
	$(bin)/ruff format --check
	$(bin)/ruff check
	$(bin)/mypy
	$(bin)/lint-imports

.PHONY: format
format: $(ready) ## put the formatting right
	$(bin)/ruff check --fix
	$(bin)/ruff format

.PHONY: generate
generate: $(ready) ## write what is generated: schemas, references, rules, and with helm the kustomize bases
	@$(bin)/python scripts/generate.py
	@$(bin)/python -m deploy.rules
	@$(bin)/python -m deploy.kubernetes

.PHONY: bench
bench: $(ready) ## what the exporter costs, beside blackbox_exporter; writes build/bench.md and .json
	@$(bin)/python benchmarks/run.py $(args)
	@$(bin)/python benchmarks/clients.py

.PHONY: bench-reload
bench-reload: $(ready) ## reloads of 5,000 targets under load, and 1,000 in a row; five minutes; build/bench-reload.json
	@$(bin)/python benchmarks/reload.py $(args)

.PHONY: bench-scale
bench-scale: $(ready) ## fleets of up to 5,000 gateways, /probe beside blackbox_exporter's; half an hour; build/bench-scale.md
	@$(bin)/python benchmarks/scale.py $(args)

.PHONY: image
image: ## the container image ibkr-exporter:local, with its labels; args="--build-arg CLIENTS=ib_async"
	@scripts/image $(args)

.PHONY: lock
lock: ## pin the newest versions that pyproject.toml permits (needs uv)
	@scripts/lock $(args)

.PHONY: clean
clean: ## remove .venv and everything generated that is not committed
	rm -rf .venv build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
