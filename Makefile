# Two commands do all the set-up: `make run` (the main job on the embedded benchmark) and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := backbones engine benchmarks classification detection segmentation eval
BACKBONE ?= resnet50d_mixup

AUDIT_EXCEPTIONS := CVE-2024-12044

ROWS := standard efficient cosine smooth distill mixup mixup_distill

BENCHES := input train_step pretrain_epoch distill detection segmentation scoring cli growth report ray_executor frozen_head

.PHONY: run test test-all check docs reliability paper-tables overheads bench format lock audit clean

run: $(VENV)/ready
	$(BIN)/python eval/run_transfer.py --backbone $(BACKBONE)

# Processes of tests side by side, one thread each: on two cores twice as fast as one after another.
PARALLEL := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --maxprocesses 4 --dist loadfile \
	--no-loadscope-reorder

test: $(VENV)/ready
	$(PARALLEL) -m "not slow and not gpu and not cluster"

test-all: $(VENV)/ready
	$(BIN)/pytest -m "not gpu"

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m eval.check_registries
	$(BIN)/python docs/build.py --check

docs: $(VENV)/ready
	$(BIN)/python docs/build.py

# What the tests of docs/reliability.md promise, measured anew on this machine.
reliability: $(VENV)/ready
	$(BIN)/pytest -m reliability --reliability-report docs/reliability.json
	$(BIN)/python docs/build.py

# The rows of the paper's Table 6 for ResNet-50-D and the ladder of its Table 4, on mini with three
# seeds: some four hours on two cores. What is there already is not done again.
paper-tables: $(VENV)/ready
	$(BIN)/trickle run --out runs/paper_rows --seeds 0 1 2 --backbone $(addprefix resnet50d_,$(ROWS))
	$(BIN)/trickle pretrain --out runs/paper_ladder --seeds 0 1 2 --backbone 'resnet50a_ladder*'

# How much longer a training step takes with each trick, for their pages.
overheads: $(VENV)/ready
	$(BIN)/python bench/trick_overhead.py --json docs/trick_overhead.json

# Trickle against what a user would pick instead, one bench after another: some twenty minutes on two
# cores that have nothing else to do. `make bench BENCHES=input` measures one.
bench: $(VENV)/ready
	mkdir -p docs/bench
	for name in $(BENCHES); do \
		$(BIN)/python bench/$$name.py --json docs/bench/$$name.json || exit 1; \
	done
	$(BIN)/python docs/build.py

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tested set: every package, direct or not, with the hashes of its files. Versions stay as they
# are where pyproject.toml allows them; `make lock LOCK_FLAGS=--upgrade` takes the newest.
lock: $(VENV)/ready
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
		--no-emit-index-url --custom-compile-command "make lock" $(LOCK_FLAGS) \
		--output-file requirements.lock pyproject.toml

# Known vulnerabilities of the tested set. What is argued away, and why: docs/security.md.
audit: $(VENV)/ready
	$(BIN)/uv tool run --quiet pip-audit@2.10.1 --requirement requirements.lock --require-hashes \
		--disable-pip --strict $(addprefix --ignore-vuln ,$(AUDIT_EXCEPTIONS))

# Every file that is installed is checked against the lock; nothing is fetched to build Trickle.
$(VENV)/ready: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Trickle needs Python 3.11 or newer: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
