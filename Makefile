# Two commands do all set-up on a fresh machine: `make demo` and `make test`.
BIN := .venv/bin

.PHONY: demo test test-all lint performance clean

demo: .venv/runtime
	$(BIN)/gr3d demo --out demo

test: .venv/development
	$(BIN)/pytest -m "not slow"

test-all: .venv/development
	$(BIN)/pytest

lint: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

performance: .venv/development
	for script in tests/performance/*.py; do $(BIN)/python $$script || exit 1; done

.venv/runtime: pyproject.toml scripts/environment
	scripts/environment .venv .
	touch $@

.venv/development: pyproject.toml scripts/environment
	scripts/environment .venv '.[test,lint]'
	touch $@ .venv/runtime

clean:
	rm -rf .venv .venv-blender5 demo
