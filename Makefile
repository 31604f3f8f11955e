# make up: everything. make test, make lint: what CI runs. make test-long: soaks. make bench: what a request and a token
# cost. Choose another interpreter with PYTHON=python3.12.
SHELL := /bin/sh
.DEFAULT_GOAL := up
.PHONY: up install otel test test-long lint lock bench clean

PYTHON ?= $(shell requirements/python.sh)
PYTEST_ARGS ?=
BENCH_ARGS ?=

up: install
	@.venv/bin/python -m cli.up.link
	@exec .venv/bin/nself claw up

install: .venv/run.stamp

# With what traces need (docs/metrics.md).
otel: .venv/run.stamp requirements/otel.lock
	@requirements/install.sh otel

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name it: make up PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make up PYTHON=python3.12" >&2; exit 1; }
	@echo "Making .venv with $$($(PYTHON) -V) ..."; requirements/python.sh $(PYTHON)
	@$(PYTHON) -m venv --clear .venv || { rm -rf .venv; \
		echo "The virtual environment could not be made. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

.venv/run.stamp: requirements/run.lock pyproject.toml | .venv/bin/python
	@requirements/install.sh run
	@touch $@

.venv/dev.stamp: requirements/dev.lock pyproject.toml | .venv/bin/python
	@requirements/install.sh dev
	@touch .venv/run.stamp $@

test: .venv/dev.stamp
	.venv/bin/python -m pytest -n auto --dist loadgroup -m "not debian and not npm and not soak" $(PYTEST_ARGS)

# The same tests as those marked soak in .ci/run, with numbers that take an hour; a thousand examples of each generator.
test-long: .venv/dev.stamp
	.venv/bin/python -m pytest -n auto --dist loadgroup --long tests/unit $(PYTEST_ARGS)
	.venv/bin/python -m pytest -m soak --long $(PYTEST_ARGS)

lint: .venv/dev.stamp
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/run.stamp
	.venv/bin/python -m bench $(BENCH_ARGS)

lock:
	requirements/lock.sh

# The table of parameters in docs/api.md, from the one that the code acts by.
docs: .venv/run.stamp
	.venv/bin/python -m shared.models.parameter_tables
	.venv/bin/python -m shared.models.over_responses

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
