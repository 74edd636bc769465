# `make run` and `make test` set up all they need in .venv, on a machine with Python 3.11+ (venv and pip) alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= store
VIDEOS ?=
FFMPEG ?=

.PHONY: run test soak test-decoding lint bench setup lock clean

run: setup
	$(BIN)/python -m reeldex.cli.quickstart --store "$(STORE)" $(if $(VIDEOS),--videos "$(VIDEOS)")

test: lint
	$(BIN)/python -m pytest

# Long: submissions at once, stops and kills of `reeldex up` during shards.
soak: setup
	$(BIN)/python -m tests.system.stress

DECODING := $(addprefix tests/extractors/test_,decode.py ffmpeg_process.py gaps.py golden.py probe.py sample_clock.py thumbnail.py)

# What decodes, with the ffmpeg in the folder FFMPEG, such as /usr/bin, or else with the one that `make test` takes.
test-decoding: setup
	$(if $(FFMPEG),PATH="$(abspath $(FFMPEG)):$$PATH") $(BIN)/python -m pytest $(DECODING)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.howto100m_samples --videos 100 --minutes 6.5
	$(BIN)/python -m benchmarks.word_vectors
	$(BIN)/python -m benchmarks.prefect_overhead
	$(BIN)/python -m benchmarks.search_recall --moments 1000000 --dims 256 6144

setup: $(VENV)/.ready

# Done once, and again when what is to be installed changes.
$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.9,<1"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# Writes requirements.lock anew; without download addresses, which differ from place to place.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --group dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV)
