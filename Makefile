# Only Python 3.11 to 3.13 and make are needed: each target sets up what it wants in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: repl test soak train-env compare format picture clean

repl: $(VENV)/.run
	$(BIN)/python -m kbengine repl

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# The tests marked `soak` with ten thousands of tries instead of hundreds.
soak: $(VENV)/.dev
	KBENGINE_SOAK=1 $(BIN)/python -m pytest -m soak

train-env: $(VENV)/.dev

# One model in TensorFlow, Keras and TFLite (docs/compare.md): some fifteen minutes.
compare: $(VENV)/.dev
	$(BIN)/python -m train compare --json runs/compare.json --out runs/compare.png

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The picture in the README, drawn by the real program.
picture: $(VENV)/.dev
	$(BIN)/python docs/repl_picture.py

$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[train,eval,test]'
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) build dist *.egg-info
