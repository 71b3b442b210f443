# Two commands matter: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test run dev lint clean

demo: $(STAMP)
	$(BIN)/slap demo

test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --tables

run: $(STAMP)
	@test -n "$(SLAP_RAW)" || { echo "SLAP_RAW=<folder that holds one folder per corpus> make run"; exit 2; }
	$(BIN)/slap run

dev: $(STAMP)
	mkdir -p .dagster && DAGSTER_HOME="$(CURDIR)" $(BIN)/dagster dev

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# resemblyzer comes without its dependencies (librosa, webrtcvad from source): only the weights in it are read.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed; name one: make PYTHON=python3.12 ...")'
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[voices,m4a,embedders,mteb,dev]'
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --no-deps resemblyzer
	touch $(STAMP)

clean:
	rm -rf $(VENV) .dagster
