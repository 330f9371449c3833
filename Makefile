# `make quickstart` and `make test` do all of their set-up; the second time they start at once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test test_quick docs drill lint format clean

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cnnlab needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(STAMP)
	$(BIN)/python -m cnnlab sweep experiments/downsampling_digits --root runs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy cnnlab

test: lint
	$(BIN)/python -m pytest -n 3 --dist worksteal

# Without the tests that train every variant of every experiment, the site's build, and the like.
test_quick: lint
	$(BIN)/python -m pytest -n 3 --dist worksteal -m 'not slow'

# Executes the tutorials, in about three minutes on two cores. tests/test_docs.py builds without them.
docs: $(STAMP)
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --jobs 2 -d build/doctrees docs build/site

# Bad values and files, faults and kills: about 15 minutes on two cores.
drill: $(STAMP)
	$(BIN)/python -m tests.drill

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build *.egg-info .pytest_cache .ruff_cache .mypy_cache
