# make bench: the default sweep on this machine, and its report.   make test: the whole test suite.
# Both are complete on a fresh machine with Python 3.11 or later: they build .venv with the pinned set first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One test file a process, with a thread each: two OpenMP teams on two cores would wait for each other.
JOBS ?= 2
READY := $(VENV)/.ready

.PHONY: bench test test-fast lint perf clean

bench: $(READY)
	$(BIN)/python -m pytest benches/ --benchmark-only

test: $(READY) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/ -n $(JOBS) --dist loadfile --no-loadscope-reorder

# What takes no more than a few seconds a test: for while one works.
test-fast: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/ -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow and not browser"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

perf: $(READY)
	$(BIN)/python -m tests.perf

$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or later is needed; name one with PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement requirements-dev.txt
	touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
