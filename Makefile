# make run     start a server with etc/castd.toml
# make test    everything CI runs: the checks, then every test, with real encoders, players and a browser
# make check   lint, format, types, layers
# make bench   castd and icecast2 under the same loads; writes docs/performance.md (about 50 minutes; needs cc, openssl)
# make fuzz    fuzz every parser, guided by coverage: a minute each; make fuzz TARGET=ogg SECONDS=600 for one (docs/bad-input.md)
# make soak    castd for an hour with 3,000 listeners and all sorts of trouble; writes docs/soak.md (SOAK='--minutes 5': sooner)
# make faults  the catalogue of attacks and faults against castd and icecast2; the table of docs/reliability.md (20 minutes)
# make screenshots   pictures of every page, into docs/pictures (three minutes; needs chromium, ffmpeg)
# make fmt     format the code
# make clean   forget what was built or cached, and the virtualenv
# make constraints   pin the dependencies of pyproject.toml anew

PYTHON ?= python3
# Tests at once: most of them wait for sound that takes its time.
TESTERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SECONDS ?= 60
CASTD_SERVER__STATE_DIR ?= $(CURDIR)/.state

.PHONY: run test check bench fuzz soak faults screenshots fmt clean constraints peers
.DELETE_ON_ERROR:

run: $(VENV)/installed
	CASTD_SERVER__STATE_DIR='$(CASTD_SERVER__STATE_DIR)' exec $(BIN)/castd run -c etc/castd.toml

test: peers check
	$(BIN)/pytest --numprocesses $(TESTERS) --dist worksteal

check: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: peers $(VENV)/installed-dev
	ulimit -n "$$(ulimit -Hn)" && $(BIN)/python -m tests.bench $(BENCH)

fuzz: $(VENV)/installed-fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGET)

soak: $(VENV)/installed-dev
	$(BIN)/python -m tests.soak $(SOAK)

faults: peers $(VENV)/installed-dev
	$(BIN)/python -m tests.faults $(CASES)

screenshots: peers $(VENV)/installed-dev
	$(BIN)/python -m tests.e2e.screenshots docs/pictures

fmt: $(VENV)/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

constraints: | $(BIN)/python
	test -x $(BIN)/uv || $(PIP) install uv
	$(BIN)/uv pip compile --quiet --universal --upgrade --extra dev --extra fuzz --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links --output-file constraints.txt pyproject.toml

# Debian packages: what is installed already is left alone, what may not be installed is named.
peers:
	.ci/peers

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'castd needs Python 3.11 or newer as $(PYTHON); another can be named: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo '$(PYTHON) cannot make a virtualenv; on Debian: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A virtualenv with the dev extra has all that running needs, so the second file stands for both.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/installed

$(VENV)/installed-fuzz: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[dev,fuzz]'
	touch $@ $(VENV)/installed-dev $(VENV)/installed
