# Each target creates a virtual environment in .venv with the versions of constraints.txt if there is none.
PYTHON ?= python3
ENV := .venv
BIN := $(ENV)/bin
READY := $(ENV)/.ready
export JAX_PLATFORMS ?= cpu

# Most of the time of the tests is compilation, and XLA compiles three times as fast without optimisations. Tests of the
# generated code (bits, loops, the last digits) are in tests/codegen; they and the battery use the default code.
PLAIN_CODE := --xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0

.PHONY: test study battery checks lint benchmarks constraints clean

test: lint
	XLA_FLAGS="$(XLA_FLAGS) $(PLAIN_CODE)" $(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/codegen --ignore tests/battery
	$(BIN)/python -m pytest -n 2 tests/codegen

study: $(READY)
	$(BIN)/python -m experiments.study

battery: $(READY)
	$(BIN)/python -m pytest -n 2 -m battery --timeout 3000

checks: $(READY)
	$(BIN)/python -m benchmarks.checks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# One benchmark at a time, since they share the cores.
benchmarks: $(READY)
	$(BIN)/python -m benchmarks.run

# Exact versions, without addresses; run in a fresh environment after changing pyproject.toml.
constraints: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable --exclude mcengine | grep -v ' @ ' > constraints.txt

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "needs Python 3.11 to 3.13, found " + sys.version'
	$(PYTHON) -m venv $(ENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(ENV) results/runs
