# Two commands for a newcomer: `make demo` and `make test`. Both do all set-up.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check fuzz lint setup system screenshots clean

demo: setup
	@$(BIN)/medsilo demo $(ARGS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not browser" $(ARGS)

# The documentation's pictures, of a filled hub and of a federation that runs; needs Debian's chromium.
screenshots: setup
	$(BIN)/python -m tests.browser.screenshot docs/images
	MEDSILO_PICTURES=docs/images $(BIN)/pytest -p no:xdist tests/end_to_end/test_demo.py -k persona

# The API under many generated requests; the suite sends a few to each operation.
fuzz: setup
	MEDSILO_FUZZ_EXAMPLES=100 $(BIN)/pytest tests/contract/test_schemathesis.py $(ARGS)

setup: system $(STAMP)

system:
	@./tests/install-system-packages >&2

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@echo "Installing into $(VENV) ..." >&2
	@$(BIN)/pip install --quiet --upgrade pip >&2
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[hub,silo,privacy,dev]' >&2
	@# The wheel of opacus brings packages called benchmarks and examples, which would hide ours beside it.
	@rm -rf $(VENV)/lib/python3*/site-packages/benchmarks $(VENV)/lib/python3*/site-packages/examples
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
