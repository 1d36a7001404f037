# Two commands do everything on a machine with Python 3.11 to 3.13, git and make: `make repro` and `make test`.
.DEFAULT_GOAL := help
PYTEST = python -m pytest -n auto --dist loadfile --no-loadscope-reorder
TESTS := tests/system tests/pipeline tests/unit pipeline
BACKEND_TESTS := tests/system/test_backends.py tests/system/test_train_devices.py tests/system/test_train_resume.py \
  tests/pipeline/test_serving_bundle.py tests/pipeline/test_train_networks.py tests/pipeline/test_train_stage.py \
  tests/pipeline/test_train_trainer.py
.PHONY: help repro test test-all test-backend test-backends lint bench lock clean tracked
SHELL := /bin/bash

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

help:
	@echo "make repro  set up everything, run the whole pipeline on the demo corpora, say how good the model is"
	@echo "make test   set up everything, run the quick tests: tests/unit and the examples in the code"
	@echo "make test-all  run all tests: stages and commands, DVC, kills, several users, servers, a browser"
	@echo "make test-backends  networks, training and bundles on TensorFlow, JAX and torch, each in its own environment"
	@echo "make lint   ruff and mypy"
	@echo "make bench  measure side by side with the usual ways"

# DVC and its tests need a git repository that knows this folder: a ZIP has none. Said before anything is installed.
# Hooks of git name their repository in the environment, which does not matter here.
tracked:
	@if ! command -v git >/dev/null; then \
	  echo "git is needed, and there is none on PATH: install it (apt install git, brew install git, https://git-scm.com)." >&2; exit 1; fi; \
	said=$$(env -u GIT_DIR -u GIT_WORK_TREE -u GIT_INDEX_FILE LC_ALL=C git ls-files --error-unmatch dvc.yaml 2>&1) && exit 0; \
	case "$$said" in *"dubious ownership"*) echo "$$said" >&2; exit 1;; esac; \
	echo "DVC needs a git repository that knows this folder, and a ZIP brings none. Make one in it, then run make again:" >&2; \
	echo "  git init -q && git add -A && git commit -qm 'As downloaded'" >&2; exit 1

ifneq (,$(filter repro test test-all test-backend test-backends,$(MAKECMDGOALS)))
.venv/.ready: | tracked
endif

# The environment is made once and again whenever what it holds has changed.
.venv/.ready: pyproject.toml constraints.txt
	@python=; for name in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "Python 3.11, 3.12 or 3.13 is needed: install one, or name it: make PYTHON=/path/to/python3.12 repro" >&2; exit 1; fi; \
	echo "Setting up .venv with $$($$python --version): about 3 GB, a few minutes the first time."; \
	"$$python" -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

repro: .venv/.ready
	dvc repro
	@ser-features model show --line
	@echo "The report, with pictures: metrics/report.html"

test: .venv/.ready
	$(PYTEST)

# The longest files come first, or one of them would end long after all others.
test-all: .venv/.ready
	$(PYTEST) $(TESTS)

# Backends come beside TensorFlow, so that a bundle can be held against it.
.venv-%/.ready: pyproject.toml constraints.txt .venv/.ready
	.venv/bin/python -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,$*]"
	@touch $@

# On the backend that KERAS_BACKEND names, in the usual environment.
test-backend: .venv/.ready
	$(PYTEST) $(BACKEND_TESTS)

test-backends: .venv/.ready .venv-jax/.ready .venv-torch/.ready
	.venv/bin/$(PYTEST) $(BACKEND_TESTS)
	KERAS_BACKEND=jax .venv-jax/bin/$(PYTEST) $(BACKEND_TESTS)
	KERAS_BACKEND=torch .venv-torch/bin/$(PYTEST) $(BACKEND_TESTS)

lint: .venv/.ready
	ruff check .
	ruff format --check .
	mypy

bench: .venv/.ready
	python -m benchmarks

# Pin every version again, for all extras and Python versions; needs uv.
lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --upgrade -o constraints.txt

clean:
	rm -rf .venv .venv-jax .venv-torch .pytest_cache .mypy_cache .ruff_cache
