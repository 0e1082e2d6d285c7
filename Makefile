# What a contributor and CI run. `make help` lists it.
# Everything happens in .venv; once it is there, nothing needs the network.

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCALES := es en
CATALOGUES := src/respaldo/locale
TEMPLATE := build/messages.pot
EXTRACTED := src/respaldo scripts backup_orchestrator.py
# Only what is there: ruff refuses a path that is not.
CHECKED := $(wildcard src tests bench scripts backup_orchestrator.py)
# More for pytest: make test ARGS='-k retention -x'
ARGS ?=
# Tests wait for servers too: with four of them at once two cores are busy. JOBS=0 runs them one after another, in this process.
JOBS ?= 4
TESTS = -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder -ra $(ARGS)

# The product reads these from its environment; what the machine says must not reach a test, a demo or a benchmark.
unexport CONTAINER_NAME POSTGRES_CONTAINER BACKUP_DIR POD_NAME NAMESPACE KUBE_NAMESPACE
unexport $(filter PG% POSTGRES_% RETENTION_% SLACK_%,$(.VARIABLES))
# Where a machine sets it, every worker would compile the tests, and many a process the program, anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install test coverage images lint format demo picture bench locale lock clean

help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf 'make %-8s %s\n' "$$name" "$$text"; done

install: $(INSTALLED) ## create .venv with the pinned tools and respaldo itself

$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "respaldo needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "$(PYTHON) cannot make virtual environments: installing python3-venv"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; \
	  else echo "$(PYTHON) cannot make virtual environments: install it with 'apt install python3-venv'" >&2; exit 1; fi; }
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: $(INSTALLED) ## run every test that this machine can run, and say which it could not, and why
	$(BIN)/python $(TESTS)

coverage: $(INSTALLED) ## run the tests, and show which lines of the program none of them reached
	@mkdir -p build && rm -f build/coverage*
	@status=0; $(BIN)/coverage run $(TESTS) || status=$$?; \
	$(BIN)/coverage combine --quiet; $(BIN)/coverage report --show-missing; exit $$status

images: ## bring up the PostgreSQL images that the tests use: those the engine lacks (root, mmdebstrap)
	$(PYTHON) tests/rig/postgres_image.py 13 15 17 18 nozstd bare

lint: $(INSTALLED) ## ruff, mypy, import-linter, codespell: the same here and in CI
	@status=0; \
	check() { echo "$$*"; "$$@" || status=1; }; \
	check $(BIN)/ruff check $(CHECKED); \
	check $(BIN)/ruff format --check $(CHECKED); \
	check $(BIN)/mypy; \
	check $(BIN)/lint-imports; \
	files=$$(git ls-files --cached --others --exclude-standard); \
	echo $(BIN)/codespell; xargs -d '\n' $(BIN)/codespell <<<"$$files" || status=1; \
	exit $$status

format: $(INSTALLED) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

demo: $(INSTALLED) ## show the program at work, on a server of its own
	$(BIN)/python scripts/demo.py

picture: $(INSTALLED) ## draw the picture of a real run that the READMEs show
	$(BIN)/python scripts/picture.py

bench: $(INSTALLED) ## measure side by side with other tools
	$(BIN)/python -m bench $(ARGS)

locale: $(INSTALLED) ## extract the strings, update and compile the catalogues, write the command reference
	@mkdir -p $(dir $(TEMPLATE))
	$(BIN)/pybabel --quiet extract --keyword N_ --keyword NN_:1,2 --sort-by-file --add-location=file --add-comments=NOTE: --width=120 \
	  --project=respaldo --copyright-holder='the respaldo authors' -o $(TEMPLATE) $(EXTRACTED)
	@for language in $(LOCALES); do \
	  catalogue=$(CATALOGUES)/$$language/LC_MESSAGES/messages.po; mkdir -p "$${catalogue%/*}"; \
	  if [ -f "$$catalogue" ]; then verb="update --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width=120"; else verb=init; fi; \
	  $(BIN)/pybabel --quiet $$verb -i $(TEMPLATE) -o "$$catalogue" -l $$language && \
	  $(BIN)/pybabel --quiet compile --statistics -i "$$catalogue" -o "$${catalogue%.po}.mo" -l $$language || exit 1; \
	done
	$(BIN)/python scripts/command_reference.py

lock: ## pin the dependencies again, with their hashes (needs uv)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command 'make lock' pyproject.toml -o requirements.txt
	echo 'setuptools>=77' | uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command 'make lock' --extra dev pyproject.toml - -o requirements-dev.txt

clean: ## remove what the targets above made
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
