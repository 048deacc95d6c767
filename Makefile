# Each target sets up what it needs: a virtual environment in .venv, made once and again when pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
COMPILED := build/compiled
export MPLBACKEND := Agg

.PHONY: demo test test-compiled lint compiled bench soak experiments completion-times links-validation outage pythons clean

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: .venv/.ready  ## 10 MiB over a lossy 10 Mbps link: summary, qlog, capture and plots under build/demo
	$(BIN)/quicsim run experiments/bulk_loss/plan.toml --seed 7 --out build/demo

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n auto --dist worksteal -q -rs

test-compiled: compiled  ## the tests of the stack once more, on the compiled one
	QUICSIM_COMPILED=1 $(BIN)/pytest -o pythonpath="$(COMPILED) ." -n auto --dist worksteal -q tests/stack

compiled: $(COMPILED)/.ready  ## the stack as machine code, for tests and `make bench`; needs a C compiler

$(COMPILED)/.ready: .venv/.ready hatch_build.py $(shell find stack -name '*.py')
	rm -rf $(COMPILED) $(COMPILED)-wheel
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
	    --target $(COMPILED)-wheel .
	mkdir $(COMPILED)
	mv $(COMPILED)-wheel/stack $(COMPILED)-wheel/*__mypyc*.so $(COMPILED)
	rm -r $(COMPILED)-wheel
	touch $@

bench: .venv/.ready  ## ratios against aioquic, printed and kept in build/bench.json; of the compiled stack too, if it can be made
	-$(MAKE) --no-print-directory compiled
	$(BIN)/python -m tests.bench

soak: .venv/.ready  ## 3,000 transfers over random networks; QUICSIM_SOAK=FIRST:LAST chooses the seeds
	QUICSIM_SOAK=$${QUICSIM_SOAK:-0:3000} $(BIN)/pytest -n auto -q tests/scenarios/test_random_networks.py

experiments: .venv/.ready  ## every experiment in experiments/, and the table of measured and expected values
	-$(BIN)/quicsim experiments run
	$(BIN)/quicsim experiments report

completion-times: .venv/.ready  ## 100 MB over a satellite link, in virtual time, against published times
	$(BIN)/python -m tests.completion_times

outage: .venv/.ready  ## a download through a network that is down for 20 seconds, in real time
	QUICSIM_OUTAGE=1 $(BIN)/pytest -q tests/real/test_failures.py -k down_for

links-validation: .venv/.ready  ## every random link model against its closed form, a million datagrams each
	$(BIN)/python -m tests.links_validation

pythons: .venv/.ready  ## environments of the other versions of Python here, for the test that digests are the same in all
	$(BIN)/python -m tests.support.pythons

clean:
	rm -rf build .venv
