PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo web test test-slow lint format lock platforms bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv and install the locked packages (about 40 s, 6.6 GB)

# uv, because plain pip may pair a CPU-only torch with torchvision's CUDA wheel, which then fails to import. Bytecode
# is compiled at once: where PYTHONDONTWRITEBYTECODE is set, every command would compile PyTorch anew.
$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	touch $(READY)

demo: $(READY) ## train average pooling and BERT on the embedded data, compare them, draw a picture (3 min)
	$(BIN)/python -m src.demo

web: $(READY) ## a page in the browser, for this machine alone: drop a video, see its classes, when and why
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r pyproject.toml --extra web
	$(BIN)/python -m src.web

# Two processes, each on one thread; the tests of a file stay together, because they share what they have made.
test: $(READY) ## the tests (at most 12 min on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(READY) ## the tests that take longer: golden networks at full size, signals at any moment (35 min)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --timeout 1800 -n 2 --dist loadfile

lint: $(READY) ## ruff, mypy, and the directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: $(READY) ## let ruff put the code in shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## pin all packages anew, with hashes and without index addresses
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra flow --extra parallel --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --upgrade -o requirements.lock

platforms: $(READY) ## resolve all packages for Linux (x86-64, ARM), macOS (ARM) and Windows; asks the registry
	@for platform in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin x86_64-pc-windows-msvc; do \
	  for python in 3.11 3.13; do \
	    MACOSX_DEPLOYMENT_TARGET=14.0 $(BIN)/uv pip compile pyproject.toml --all-extras --only-binary torch \
	      --only-binary torchvision --only-binary decord2 --only-binary av --only-binary numpy \
	      --python-platform $$platform --python-version $$python --no-header --no-annotate --quiet > /dev/null \
	      && echo "$$platform, Python $$python: resolved" || exit 1; \
	  done; done

bench: $(READY) ## side-by-side timings, written to benchmarks/results
	$(BIN)/python -m benchmarks

clean: ## remove caches, not outputs
	rm -rf .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
