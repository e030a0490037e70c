# `make demo` shows it, `make test` proves it. Nothing but Python 3.11+ and a network that reaches PyPI and Maven Central is needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test faults faults-long bench bench-long lint format docs lock clean

install: .venv/installed

.venv/installed: pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'gridstream needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	@exec $(BIN)/gridstream up --demo

test: install
	$(BIN)/python -m pytest

# Prints what each fault costs, and writes it into docs/reliability.md.
faults: install
	FUZZ_EXAMPLES=2000 $(BIN)/python -m tests.faults

# Half an hour of random kills under load: `make faults-long MINUTES=5 RATE=500` for less.
MINUTES ?= 30
RATE ?= 2000

faults-long: install
	FAULTS_SECONDS=$$(( $(MINUTES) * 60 )) FAULTS_RATE=$(RATE) $(BIN)/python -m pytest -s tests/faults/test_random.py

# What the pipeline does a second on this machine, beside others and beside the floor: less than 20 minutes.
bench: install
	$(BIN)/python -m bench.pipeline --peers quixstreams,bento,faust
	$(BIN)/python -m bench.floor
	$(BIN)/python -m bench.ingress
	$(BIN)/python -m bench.latency

# And what takes longer: much that is stored, a long backlog, everything around the pipeline. Two hours.
bench-long: bench
	$(BIN)/python -m bench.pipeline --peers arroyo
	$(BIN)/python -m bench.growth --rows 1000000 10000000 100000000
	$(BIN)/python -m bench.backlog
	$(BIN)/python -m bench.fairness
	$(BIN)/python -m bench.scaling
	$(BIN)/python -m bench.attack
	$(BIN)/python -m bench.contacts
	$(BIN)/python -m bench.objects
	$(BIN)/python -m bench.forward
	$(BIN)/python -m bench.mail
	$(BIN)/python -m bench.dashboard
	$(BIN)/python -m bench.dashboard --events 100000000
	$(BIN)/python -m bench.forget

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.dependencies

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Locked with hashes and without addresses, so that any mirror of PyPI serves.
lock:
	$(PYTHON) -m pip install --quiet uv
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command 'make lock' --output-file requirements/production.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command 'make lock' --constraint requirements/production.txt --extra embedded --group dev --output-file requirements/dev.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command 'make lock' --constraint requirements/dev.txt --group build --output-file requirements/build.txt

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis

docs: install
	$(BIN)/python -m tests.generated
