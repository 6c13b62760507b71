# The two commands a newcomer needs: make demo, make test. Both make the environment themselves.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# A virtual environment of its own, for what stepgraph is compared with: make bench BENCH=--quick
BENCH_VENV := .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready

# $(call install,VENV,LOCK): makes an environment with the locked packages, and says how far it is.
define install
@echo "Making $(1) with $$(grep -c '==' $(2)) packages. This happens once, and takes a minute or more."
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stepgraph needs Python 3.11 or later")'
@$(PYTHON) -m venv $(1)
@$(1)/bin/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r $(2) \
	| awk '/^(Collecting|Processing) / && ++n % 20 == 0 { print "  " n " packages fetched"; fflush() } \
	/^Installing collected/ { print "  installing them"; fflush() }'
@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
@touch $(1)/.ready
endef

.PHONY: demo test test-fast attack chaos parity check docs bench lock clean

demo: $(READY)
	$(BIN)/python starter.py demo

test: $(READY)
	$(BIN)/python -m pytest -n 3

# What needs no server.
test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not server"

# Random attacks on every public entry: make attack ATTACK=1000 for so many of each kind.
attack: $(READY)
	ATTACK=$(or $(ATTACK),300) $(BIN)/python -m pytest tests/attack -n 2

# Workers and servers killed under threads of all shapes: make chaos CHAOS="--seconds 600 --burners 2"
chaos: $(READY)
	$(BIN)/python -m tests.chaos $(CHAOS)

# LangGraph's own tests, from its source package: make parity PARITY="--file test_pregel.py --mode adopt -k send"
parity: $(READY)
	$(BIN)/python -m tests.langgraph_suite $(PARITY)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.house

# The documentation site, under site/. A warning is an error.
docs: $(READY)
	$(BIN)/zensical build --strict --clean

bench: $(BENCH_READY)
	$(BENCH_VENV)/bin/python -m benchmarks $(BENCH)

# Resolves the locked versions anew, for every Python and platform supported.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --extra s3 --extra langgraph -o requirements/runtime.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --extra embedded --extra s3 --extra langgraph --extra dev -o requirements/dev.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --extra embedded --group bench -c requirements/dev.lock \
		-o requirements/bench.lock pyproject.toml

$(READY): requirements/dev.lock pyproject.toml
	$(call install,$(VENV),requirements/dev.lock)

$(BENCH_READY): requirements/bench.lock pyproject.toml
	$(call install,$(BENCH_VENV),requirements/bench.lock)

clean:
	rm -rf $(VENV) $(BENCH_VENV) site .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
