# `make help` lists the targets. Every target that needs the virtual environment makes it first,
# once; .ci/environment.py says what it is made of.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
comma := ,

.DEFAULT_GOAL := help
.PHONY: help up build cards memory test lint types format golden lock environment clean
MAKEFLAGS += --no-print-directory

help: ## list the targets
	@echo "usage: make TARGET [PYTHON=python3.12] [ARGS='options of the program that runs']"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s%s\n", $$1, $$2}'

# exec, so that Ctrl-C reaches modelport alone and its exit code is the one that make sees.
up: environment ## build, serve and ask the models (ONCE=1: then stop; MODELS=a,b: only these)
	@exec $(BIN)/modelport up $(subst $(comma), ,$(MODELS)) $(if $(filter-out 0,$(ONCE)),--once) $(ARGS)

build: environment ## build what has changed and serve nothing (MODELS=a,b: only these)
	@exec $(BIN)/modelport build $(subst $(comma), ,$(MODELS)) $(ARGS)

cards: environment ## write a card of every built model, and a table of all (DIR=cards)
	@exec $(BIN)/modelport card --output $(or $(DIR),cards) $(ARGS)

memory: environment ## what the server and each built model take in memory
	@exec $(BIN)/python perf/memory.py $(ARGS)

# The zoo has the machine to itself: a server that answers ten thousand sequences at once does
# not take others beside it. All other tests wait more than they compute, so two share them.
test: lint types ## lint, check types, run all tests (ARGS="-m 'not slow' tests/unit")
ifdef ARGS
	@exec $(BIN)/pytest $(ARGS)
else
	@$(BIN)/pytest tests/server/zoo
	@exec $(BIN)/pytest --ignore tests/server/zoo --numprocesses 2 --dist loadfile --no-loadscope-reorder
endif

lint: environment ## check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: environment ## check types
	@$(BIN)/mypy

format: environment ## mend style and formatting where that can be done by a program
	@$(BIN)/ruff check --fix --exit-zero --quiet
	@$(BIN)/ruff format

golden: environment ## accept what the code gives now as golden files and generated docs
	@MODELPORT_UPDATE_GOLDEN=1 $(BIN)/pytest tests/unit/repository/test_pbtxt.py tests/unit/test_generated_docs.py

lock: ## choose the newest versions for constraints.txt (needs uv on PATH)
	@{ sed '/^[^#]/,$$d' constraints.txt; \
	  uv pip compile --universal --python-version 3.10 --extra dev --upgrade --quiet --no-header \
	    --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml constraints.in \
	  | grep -v "win32\|== 'emscripten'"; } > constraints.new || { rm -f constraints.new; exit 1; }
	@mv constraints.new constraints.txt

environment:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: there is no $(PYTHON) on PATH; Modelport needs Python 3.10, 3.11 or 3.12" >&2; \
	  echo "  next: sudo apt install python3 python3-venv, or make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; }
	@"$(PYTHON)" .ci/environment.py $(VENV)

clean: ## remove the virtual environment and the tools' caches, not the models
	@if [ -f $(VENV)/made-by-make ]; then rm -rf $(VENV); fi
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find .ci src tests builders clients -type d -name __pycache__ -prune -exec rm -rf {} +
