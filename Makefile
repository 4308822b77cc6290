# piapi-gateway: `make run` and `make test` need make and Python >= 3.11, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run run-fleet test test-unit test-newest compatibility compatibility-results check format bench bench-quick bench-peers bench-results soak fuzz docs prices lock clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "piapi-gateway needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "could not make $(VENV): this Python lacks venv/ensurepip (on Debian and Ubuntu: the package python3-venv)" >&2; exit 1; }

$(VENV)/.run: requirements/base.txt requirements/build.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing locked requirements into $(VENV) …"
	@$(PIP) -r requirements/build.txt
	@$(PIP) -r requirements/base.txt
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "installing locked development requirements into $(VENV) …"
	@$(PIP) -r requirements/dev.txt
	@touch $@

$(VENV)/.docs: requirements/docs.txt $(VENV)/.run
	@echo "installing locked requirements of the documentation into $(VENV) …"
	@$(PIP) -r requirements/docs.txt
	@touch $@

run: $(VENV)/.run ## start the gateway; without any key, the demo on the sandbox
	@if [ -n "$${PIAPI_API_KEY:-}$${BACKUP_API_KEY:-}" ]; then exec $(BIN)/piapi-gateway serve; else exec $(BIN)/piapi-gateway demo; fi

run-fleet: $(VENV)/.dev ## PostgreSQL, Valkey, three gateways on the sandbox and a balancer, to look at (ARGS="--gateways 5")
	@$(BIN)/python -m scripts.run_fleet $(ARGS)

# Workers take tests from one another when they run out of their own: a few tests last as long as a thousand others.
# Where tests wait there are two workers for each core (tests/conftest.py), where they only compute one.
PYTEST := $(BIN)/python -m pytest --dist worksteal -rs --durations=15
UNIT := core wire translate config runtime stores

test: $(VENV)/.dev ## the whole test suite, over real loopback servers (ARGS=tests/e2e, ARGS="-k budget")
	@scripts/node_sdk.sh
	@$(BIN)/python -m tests.e2e.sdk_suites.environment
	@$(PYTEST) -n auto $(ARGS)

test-unit: $(VENV)/.dev ## the rooms without sockets, and the stores: half a minute
	@$(PYTEST) -n $$(getconf _NPROCESSORS_ONLN) $(UNIT:%=tests/%) $(ARGS)

# What Python will lack it warns of some versions before: there every warning is an error. `make test` may run on the oldest.
NEWEST := .venv-newest
LEANING := runtime upstream server exchange telemetry stores/sqlite

test-newest: ## what leans on the interpreter, on the newest Python of this machine: two minutes
	@newest=$$(scripts/newest_python.sh) || { echo "NO PYTHON BUT THE OLDEST ONE IS HERE: NOTHING WAS TRIED ON A NEWER" >&2; exit 0; }; \
		$(MAKE) --no-print-directory VENV=$(NEWEST) PYTHON="$$newest" $(NEWEST)/.dev && \
		echo "on $$($(NEWEST)/bin/python -V):" && \
		$(NEWEST)/bin/python -m pytest --dist worksteal -n $$(getconf _NPROCESSORS_ONLN) $(LEANING:%=tests/%) $(ARGS)

compatibility: $(VENV)/.dev ## real clients, each in an environment of its own, against the gateway: minutes (ARGS="-k codex")
	@$(BIN)/python -m tests.compatibility.environments
	@$(PYTEST) -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) -m compatibility tests/compatibility $(ARGS)

compatibility-results: $(VENV)/.dev ## the same, kept in tests/compatibility/results/ and written into docs/compatibility.md
	@COMPATIBILITY_RESULTS=1 $(MAKE) --no-print-directory compatibility
	@$(BIN)/python -m scripts.build_docs

check: $(VENV)/.dev ## format, lint, types, import contracts, budgets
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/budgets.py

format: $(VENV)/.dev ## rewrite the code's layout
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## measure speed and memory beside the peers that are installed: six minutes
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/.dev ## CPU a request and a chunk, as multiples of a fixed loop and of nginx: a minute
	@$(BIN)/python -m bench.quick

bench-peers: $(VENV)/.dev ## install what make bench measures beside us into .bench/, and name what it cannot
	@$(BIN)/python -m bench.peers

bench-results: $(VENV)/.dev ## make bench, kept in bench/results/ and written into docs/performance.md
	@$(BIN)/python -m bench --json bench/results/$$(date -u +%Y-%m-%d-%H%M).json $(ARGS)
	@$(BIN)/python -m bench.page

MINUTES ?= 10
KILLS ?= 1000
soak: $(VENV)/.dev ## try to break the books: steady traffic, crowds, kills (MINUTES=10 KILLS=1000)
	@$(BIN)/python -m soak steady --minutes $(MINUTES)
	@$(BIN)/python -m soak budget
	@$(BIN)/python -m soak kills --count $(KILLS)

N ?= 100000
fuzz: $(VENV)/.dev ## odd streams and odd requests against what clients must get (N=100000)
	@$(BIN)/python -m tests.fuzz streams --cases $(N)
	@$(BIN)/python -m tests.fuzz sockets --cases $$(($(N) / 50))
	@$(BIN)/python -m tests.fuzz requests --cases $$(($(N) / 20))

docs: $(VENV)/.docs ## write the pages made from the code, and the site into site/; warnings and broken links are errors
	@$(BIN)/python -m scripts.build_docs
	@$(BIN)/python -m scripts.build_site
	@echo "the site is in site/: open site/index.html"

prices: $(VENV)/.dev ## where the catalogue's prices differ from genai-prices' (ARGS=--write renews the shipped price data)
	@$(BIN)/python -m scripts.prices $(ARGS)

lock: $(VENV)/.dev ## renew the hash-locked requirements
	@for set in build base otel dev docs suites; do scripts/lock.sh $(BIN)/uv $$set; done

clean: ## remove what the other targets made
	rm -rf $(VENV) $(NEWEST) .bench build site *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache tests/node/node_modules
