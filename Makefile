# On a fresh machine with Python (3.10 or newer) and make, each target does its own set-up.
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Half as many again as there are cores, at most 8: most tests wait for a process to get stuck.
WORKERS := $(shell n=$$(nproc); w=$$((n + n / 2)); echo $$((w > 8 ? 8 : w)))

# As an installed diag has its bytecode: compiling it anew at each start takes half a second.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types fast fuzz bench picture wheel system clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.diag ## Diagnose a live process that deadlocks on itself (all set-up in .venv)
	@$(BIN)/diag demo self-deadlock

test: system $(VENV)/.dev ## Set up everything, system packages too where root, and run all tests
	$(PYTEST) --numprocesses=$(WORKERS) --dist=worksteal --durations=15

check: lint types fast ## Lint, types, and the quick tests

lint: $(VENV)/.dev ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict, on diag and its tests
	$(BIN)/mypy

fast: $(VENV)/.dev ## Only the tests that start no incidents and throw no rubbish
	$(PYTEST) -q --numprocesses=auto --maxprocesses=8 -m "not live and not slow and not hostile"

fuzz: $(VENV)/.dev ## Fuzz the readers of logs for a minute (atheris: Linux, up to the Python it has wheels for)
	@mkdir -p .cache/fuzz
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python tests/fuzz/fuzz_logs.py -max_total_time=60 -timeout=10 -artifact_prefix=.cache/fuzz/ .cache/fuzz

bench: system $(VENV)/.dev ## Measure diag against lsof, fuser, lslocks, py-spy, grep and ripgrep
	$(BIN)/python -m benchmarks

picture: $(VENV)/.diag ## Draw README's picture anew, from a live run
	$(BIN)/python docs/make_picture.py docs/verdict.svg

wheel: $(VENV)/.dev ## Build dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

system: ## Install the system packages of the tests, where root; else say what is missing
	@sh scripts/setup.sh system

clean: ## Remove .venv, caches and builds
	rm -rf $(VENV) .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Older than pyproject.toml: a dependency may have changed, so install again.
$(VENV)/.diag: pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh venv $(VENV) .
	@touch $@

$(VENV)/.dev: pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh venv $(VENV) '.[dev]'
	@touch $@ $(VENV)/.diag
