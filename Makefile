.PHONY: check test format benchmarks
check:
	bash .ci/run
test:
	uv run pytest
format:
	uv run ruff check --fix .
	uv run ruff format .
benchmarks:
	for script in tests/benchmarks/*.py; do uv run python $$script; done
