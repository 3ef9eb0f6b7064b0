# Everything here works from a bare clone: it needs make and a Python >= 3.11, nothing
# else. The first run of a target makes .venv and installs; the next ones start at once.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:

# Paths stay relative, so that a folder with spaces in its name works too.
BIN := .venv/bin
# What a caller's shell, or this make, says about other programs stays out of ours.
FOREIGN := PYTHONPATH PYTHONHOME ARGS MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
RUN := env $(FOREIGN:%=-u %) $(BIN)/python
PYTEST := $(RUN) -m pytest
ARGS ?=

define BOOTSTRAP
python=$$(PYTHON='$(PYTHON)' sh scripts/find-python.sh) && "$$python" scripts/bootstrap.py
endef

.PHONY: help
help: ## Show this list
	@echo "make <target> [ARGS='…' for pytest] [PYTHON=/path/to/python]"
	@echo
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)$$/\1|\2/p' Makefile \
	    | while IFS='|' read -r name text; do printf '  %-18s %s\n' "$$name" "$$text"; done

# ------------------------------------------------------------------------ environment

.PHONY: install install-test install-check install-build install-dev
install:
	@$(BOOTSTRAP)
install-test:
	@$(BOOTSTRAP) test
install-check:
	@$(BOOTSTRAP) check
install-build:
	@$(BOOTSTRAP) build
install-dev: ## Install everything a developer uses (nox and pre-commit too)
	@$(BOOTSTRAP) dev

# -------------------------------------------------------------------------- see it run

.PHONY: demo
demo: install ## See it all on the plugins, then chat; ARGS=--serve leaves a server
	@$(RUN) scripts/demo.py $(ARGS)

# --------------------------------------------------------------------------------- test

.PHONY: test unit integration e2e mission-critical coverage
test: install-test ## Run all tests: unit, integration, e2e, mission critical
	$(PYTEST) --junit-xml=build/junit.xml $(ARGS)
unit: install-test ## Run phase 1 only
	$(PYTEST) -m unit $(ARGS)
integration: install-test ## Run phase 2 only
	$(PYTEST) -m integration $(ARGS)
e2e: install-test ## Run phase 3 only
	$(PYTEST) -m e2e $(ARGS)
mission-critical: install-test ## Run phase 4 only
	$(PYTEST) -m mission_critical $(ARGS)
coverage: install-test ## Run all tests and show the branches none of them took
	@rm -rf build/coverage && mkdir -p build/coverage
	$(RUN) -m coverage run -m pytest $(ARGS)
	@$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

.PHONY: gate-commit gate-staging gate-production
gate-commit: unit ## Gate before a commit: unit tests
gate-staging: install-test ## Gate before staging: unit and integration tests
	$(PYTEST) -m "unit or integration" $(ARGS)
gate-production: install-test ## Gate before production: e2e and mission critical tests
	$(PYTEST) -m "e2e or mission_critical" $(ARGS)

# -------------------------------------------------------------------------------- check

.PHONY: check format
check: install-check ## Check format, lint, types, import contracts and spelling
	@$(RUN) scripts/check.py
format: install-check ## Format the code, and fix what can be fixed
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

# ------------------------------------------------------------------------------- wheels

.PHONY: wheels smoke
wheels: install-build ## Build the distributions into dist/
	@$(RUN) scripts/build_wheels.py
smoke: wheels ## Install the built wheels outside the tree, and use them
	@$(RUN) scripts/smoke_wheels.py

.PHONY: clean
clean: ## Remove .venv and all that was built
	rm -rf .venv .nox build dist .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find toolkit tests plugins scripts examples benchmarks -name __pycache__ \
	    -type d -prune -exec rm -rf {} + 2>/dev/null || true
