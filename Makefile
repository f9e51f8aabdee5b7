# Everything is installed into .venv in this folder, once; afterwards no target needs a network.
PYTHON ?= python3
# The versions CI runs with (CONTRIBUTING.md tells how to renew them). `make CONSTRAINTS= ...` takes the newest
# releases that pyproject.toml admits instead.
CONSTRAINTS ?= requirements/constraints.txt

VENV := .venv/bin/python
# Named after what it was installed from, so that only a changed content, never a changed date, installs again.
READY := .venv/ready-$(firstword $(shell cat pyproject.toml $(CONSTRAINTS) | cksum))

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## answer the bundled benchmark, report in runs/demo: no key, no server
	$(VENV) -m evals demo

test: $(READY) ## run the tests
	$(VENV) -m pytest

check: $(READY) ## lint, formatting, strict types
	$(VENV) -m ruff check
	$(VENV) -m ruff format --check
	$(VENV) -m mypy

bench: $(READY) ## time our writes and reads against bare chromadb, and reads from kept states against others
	$(VENV) -m evals.bench chroma
	$(VENV) -m evals.bench state_reuse

docs: $(READY) ## build the documentation into site/
	$(VENV) -m mkdocs build --strict

clean: ## remove .venv, caches and build outputs; runs/ stays
	rm -rf .venv .venv-vllm .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --no-compile: byte-compiling all of 10,000 files takes longer than compiling what is imported, when it is.
$(READY):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@echo "Setting up .venv, once: about a minute ..."
	@test -x .venv/bin/pip || $(PYTHON) -m venv --clear .venv
	@$(VENV) -m pip install --quiet --disable-pip-version-check --no-compile $(CONSTRAINTS:%=--constraint %) --editable '.[dev]'
	@rm -f .venv/ready-* && touch $@
