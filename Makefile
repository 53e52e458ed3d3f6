# Everything sets itself up: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
ENV := .venv
BIN := $(ENV)/bin
READY := $(ENV)/.ready
export JAX_PLATFORMS ?= cpu

# XLA compiles three times as fast when it makes plain code, and compiling is most of what the tests do. What looks at
# the code itself (bits, loops, the last digits) is in tests/codegen and has it as users have it, and so has the battery.
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

# One at a time: they share the cores, and each measures.
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
