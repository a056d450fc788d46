# make demo    set up, clone the sample voice, serve it, speak through it       (under 10 minutes)
# make test    set up, run every test with coverage
# make check   lint, types, import contracts                                    (under a minute)
# make long    a real speaker's 24 minutes through clone and serve; MINUTES=3.5 for a slice
# make soak    streams that come and go for SECONDS=600: no leak, no lost sample
# make fuzz    ten thousand broken messages and requests to every way of speaking: no error of ours
# make install only the set-up, into .venv

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# A plain torch pulls several GB of CUDA; PyTorch's own index has the CPU build for Linux.
ifeq ($(shell uname -s),Linux)
TORCH := --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu
else
TORCH := torch==2.13.0
endif

.PHONY: install demo browser test check long soak fuzz clean

install: $(READY)

$(READY): .ci/cpu.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --no-deps --retries 1 $(TORCH)
	$(BIN)/pip install --quiet --no-deps --requirement .ci/cpu.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

demo: $(READY)
	$(BIN)/python recipes/demo.py demo

# The page is tested in a Chromium: one that is installed, or Playwright's, or Debian's.
browser: $(READY)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  command -v google-chrome >/dev/null || \
	  $(BIN)/playwright install chromium-headless-shell || \
	  { apt-get update -q && apt-get install -qy chromium; } || \
	  { echo "Install a Chromium: the page is tested in it"; exit 1; }

# Threads that spin while they wait make tests with several processes crawl on few cores.
test: export OMP_WAIT_POLICY := passive
test: $(READY) browser
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Only with MINUTES a slice is fetched. The recordings' licence is in recipes/allison/README.md.
ALLISON := build/allison$(MINUTES)
long: $(READY)
	$(BIN)/python recipes/allison/fetch.py $(ALLISON)/source $(if $(MINUTES),--minutes $(MINUTES))
	$(BIN)/python recipes/demo.py $(ALLISON)/out $(ALLISON)/source/audio --voice allison

SECONDS ?= 600
soak: export OMP_WAIT_POLICY := passive
soak: $(READY)
	$(BIN)/python -c "import vllm"
	SOAK_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/test_soak.py

CASES ?= 10000
fuzz: export OMP_WAIT_POLICY := passive
fuzz: $(READY)
	FUZZ_CASES=$(CASES) $(BIN)/python -m pytest --timeout 7200 tests/serve/test_fuzz.py

clean:
	rm -rf $(VENV) demo build
