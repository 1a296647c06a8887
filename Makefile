# The commands of this repository. `make run` and `make test` do all their own set-up, need no root
# and may be repeated at will. `make help` lists them.

HTTPS_PORT ?= 8443
HTTP_PORT ?= 8080
ADDRESS ?= 127.0.0.1
WORKERS ?= 1
VENV ?= .venv
# The newest Python that really runs and can make environments: a name on PATH alone is no proof,
# because version managers leave names that only print an error.
PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c 'import sys, ensurepip, ssl, venv; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && { echo "$$name"; break; }; done)
# Two processes or more; tests that share a fixture stay together as far as that keeps all busy.
PYTEST_ARGS ?= -n auto --dist worksteal
BENCH_ARGS ?=
# Where `make checkwheel` builds; and not empty where `make testwheel` takes the wheel that `make wheel` has left.
PLAIN_DIST ?= dist
BUILT ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint format docs man bench wheel checkwheel testwheel clean distclean

help: ## List these commands.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

run: $(VENV)/.ready-run ## Serve the demo: HTTPS on 8443, HTTP on 8080.
	@$(BIN)/edgeserver certs dev --out certs
	@echo
	@echo "Open  http://localhost:$(HTTP_PORT)/  or  https://localhost:$(HTTPS_PORT)/"
	@echo "Try   curl --cacert certs/ca.pem https://localhost:$(HTTPS_PORT)/"
	@echo "Forge curl -H 'X-Forwarded-For: 6.6.6.6, 203.0.113.9' http://localhost:$(HTTP_PORT)/ -H 'Accept: application/json'"
	@echo "Stop  Ctrl-C"
	@echo
	@exec $(BIN)/edgeserver serve edgeserver.demo:app --dev-tls --trust loopback --workers $(WORKERS) \
		--bind https://$(ADDRESS):$(HTTPS_PORT) --bind http://$(ADDRESS):$(HTTP_PORT)

test: $(VENV)/.ready-test ## Run the tests.
	$(BIN)/python -m pytest -q $(PYTEST_ARGS)

lint: $(VENV)/.ready-lint ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready-lint ## Format the code.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(VENV)/.ready-docs ## Build the documentation; a warning is an error.
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

man: $(VENV)/.ready-docs ## Make the manual page.
	$(BIN)/python -m sphinx -W --keep-going -q -b man docs docs/_build/man
	@echo "man docs/_build/man/edgeserver.1"

bench: $(VENV)/.ready-bench ## Measure against other servers (minutes; needs wrk).
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

wheel: $(VENV)/.ready-build ## Build the wheel with the road of a request compiled (needs a C compiler).
	@command -v cc >/dev/null || { echo "make wheel: no C compiler was found as cc; install one" \
		"(Debian: gcc), or install the source as it is: pip install ." >&2; exit 1; }
	@$(BIN)/python -c 'import os, sys, sysconfig; \
		header = os.path.join(sysconfig.get_path("include"), "Python.h"); \
		os.path.exists(header) or sys.exit(f"make wheel: {header} is missing: the headers of this" \
		" Python (Debian: python3-dev); or install the source as it is: pip install .")'
	rm -rf dist
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(BIN)/python -m build --outdir dist .

checkwheel: $(VENV)/.ready-build ## Build the source and the plain wheel, check both, and try the wheel elsewhere.
	rm -rf $(PLAIN_DIST) build/checkwheel
	$(BIN)/python -m build --outdir $(PLAIN_DIST) .
	$(BIN)/python -m twine check --strict $(PLAIN_DIST)/*
	$(BIN)/check-wheel-contents $(PLAIN_DIST)
	$(BIN)/python -m venv --clear build/checkwheel
	set -- "$(CURDIR)"/$(PLAIN_DIST)/edgeserver-*.whl && \
		build/checkwheel/bin/python -m pip --disable-pip-version-check --quiet install "$$1"
	cd build && checkwheel/bin/edgeserver --version && checkwheel/bin/python ../.ci/try_wheel.py

testwheel: $(if $(BUILT),,wheel) ## Run the tests on that wheel, away from the source.
	rm -rf build/testwheel
	mkdir -p build/testwheel
	tar -xzf dist/edgeserver-*.tar.gz -C build/testwheel --strip-components=1
	rm -r build/testwheel/edgeserver
	$(BIN)/python -m venv --clear build/testwheel/.venv
	set -- dist/edgeserver-*.whl && \
		build/testwheel/.venv/bin/python -m pip --disable-pip-version-check --quiet install "$$1[test]"
	cd build/testwheel && .venv/bin/python -m pytest -q $(PYTEST_ARGS)

clean: ## Remove what was built, but not the environment.
	rm -rf build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find edgeserver tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the environments and the development certificates too.
	rm -rf .venv .venv-* certs/*.pem certs/*.key

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer was found that runs and has" \
		"ensurepip; install one (Debian: python3 python3-venv) or say make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

# One stamp for each set of dependencies, so that the second time costs nothing.
$(VENV)/.ready-run: EXTRAS = dev
$(VENV)/.ready-test: EXTRAS = test
$(VENV)/.ready-lint: EXTRAS = test,lint
$(VENV)/.ready-docs: EXTRAS = docs
$(VENV)/.ready-build: EXTRAS = build
$(VENV)/.ready-run $(VENV)/.ready-test $(VENV)/.ready-lint $(VENV)/.ready-docs $(VENV)/.ready-build: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.ready-bench: pyproject.toml benchmarks/requirements.txt | $(BIN)/python
	$(PIP) install -e '.[test]' -r benchmarks/requirements.txt
	@touch $@
