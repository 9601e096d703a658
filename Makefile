# make bench: the default sweep on this machine, and its report.   make test: the whole test suite.
# Both are complete on a fresh machine with Python 3.11 or later: they build .venv with the pinned set first. PYTHON names another
# than the first that will do on the PATH.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
# One test file a process, with a thread each: two OpenMP teams on two cores would wait for each other.
JOBS ?= 2
READY := $(VENV)/.ready
BROKEN := $(shell { $(BIN)/python -c "import pip, _pytest" || echo no; } 2>&1)

# A container's image may forbid bytecode: then each of the hundred commands that tests start would compile the same modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench test test-fast lint perf clean FORCE

bench: $(READY)
	$(BIN)/python -m pytest benches/ --benchmark-only

test: $(READY) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/ -n $(JOBS) --dist loadfile --no-loadscope-reorder

# For use while working: without tests whose cases together take more than a quarter of a second.
test-fast: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/ -n $(JOBS) --dist loadfile --no-loadscope-reorder -m "not slow and not browser"

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

perf: $(READY)
	$(BIN)/python -m studies.perf

# Also where it is there and cannot be used: an interrupted installation, a system whose Python was upgraded.
$(READY): constraints.txt pyproject.toml requirements.txt requirements-dev.txt .ci/make-venv.sh $(if $(BROKEN),FORCE)
	@sh .ci/make-venv.sh $(VENV) "$(PYTHON)"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
