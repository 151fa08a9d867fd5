# Two commands do all the set-up: `make run` (the main job on the embedded benchmark) and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := backbones engine benchmarks classification detection segmentation eval
BACKBONE ?= resnet50d_mixup

.PHONY: run test test-all check format clean

run: $(VENV)/ready
	$(BIN)/python eval/run_transfer.py --backbone $(BACKBONE)

test: $(VENV)/ready
	$(BIN)/pytest -m "not slow and not gpu and not cluster"

test-all: $(VENV)/ready
	$(BIN)/pytest -m "not gpu"

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m eval.check_registries

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Trickle needs Python 3.11 or newer: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
