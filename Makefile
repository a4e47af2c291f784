PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check bench faults clean

demo: $(READY)  ## the whole job on the embedded simulated market
	$(BIN)/altrally --home .demo demo

test: $(READY)  ## every test that needs no network
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)  ## style, types, import rules, and that what is installed is what was locked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_lock.py

bench: $(READY)  ## timings side by side
	$(BIN)/python -m pytest benchmarks

faults: $(READY)  ## every long test: faults, perturbations, damage, ten simulated years
	$(BIN)/python -m pytest -m long

$(READY): pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-virtualenv -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)

clean:
	rm -rf .venv .demo
