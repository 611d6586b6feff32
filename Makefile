# `make ci` is what a change has to pass. Every target works on a fresh clone with Rust, gcc and Python
# 3.10, and puts what else it needs into target/; cargo, pip and uv keep their downloads where they
# always do. Two ask for root, with sudo: pack, see scripts/pack --help, and ci, which also installs
# python3-venv.

# Never download an interpreter; that of the system is good enough.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := target/venv
UV := target/uv/bin/uv
PYTHON ?= python3
BIN := target/venv/bin
YAML := .github .yamllint.yaml charmcraft.yaml metadata.yaml config.yaml actions.yaml
SOURCES := library tests/integration tests/library tests/package

.PHONY: help format lint unit library package integration pack ci
help:
	@echo 'make format       format Rust, Python and Terraform files'
	@echo 'make lint         check formatting, style and prose of everything, without changing it'
	@echo 'make unit         all tests that need no Juju controller'
	@echo 'make library      of these, only those of the library for consumers'
	@echo 'make package      build the wheel of that library, and test it with the Pythons that are here'
	@echo 'make pack         pack the charm for this machine, and analyse it'
	@echo 'make integration  tests on a real controller, with the packed charm'
	@echo 'make ci           what CI runs'

format: target/lint.stamp
	cargo fmt --all
	$(BIN)/ruff check --quiet --fix $(SOURCES)
	$(BIN)/ruff format --quiet $(SOURCES)
	@if command -v terraform > /dev/null; then terraform fmt -recursive terraform; fi

lint: target/lint.stamp
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/yamllint --strict $(wildcard $(YAML))
	$(BIN)/zizmor --offline --quiet --no-progress .github
	$(BIN)/shellcheck --severity=warning scripts/pack scripts/microcluster scripts/monitoring .ci/run
	PYTHON=$(BIN)/python scripts/monitoring
	$(BIN)/ruff check scripts/figures scripts/prose
	$(BIN)/ruff format --check scripts/figures scripts/prose
	rm -rf target/prose
	scripts/prose target/prose
	$(BIN)/proselint check target/prose
	@if command -v terraform > /dev/null; then terraform fmt -check -diff -recursive terraform; \
	else echo 'terraform is not installed: terraform/ is not checked'; fi

# Some tests in Rust run charms in Python, with the library.
unit: library
	cargo test --locked --workspace

library: target/library.stamp
	$(BIN)/pytest --cov=library/src tests/library

package: target/library.stamp
	$(BIN)/pytest -rs tests/package

# CHARM_PATH, or the only *.charm in this folder. ARGS go to pytest: make integration ARGS='-k lost'
integration: target/integration.stamp
	$(BIN)/pytest $(ARGS)

pack:
	scripts/pack

ci:
	.ci/run

target/lint.stamp target/integration.stamp target/library.stamp: target/%.stamp: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --locked --inexact --group $* --python target/uv/bin/python
	@touch $@

$(UV):
	$(PYTHON) -m venv target/uv
	target/uv/bin/pip install --quiet --disable-pip-version-check uv
