# make report      renders the book to _book/; FRESH=1 executes all chapters again
# make test        checks the code and runs every test but the slow ones
# make test-faults runs the tests of damage and distress, the slow ones too
# make submission  writes the files to hand in to submission/, or lists what is not ready
# make record      makes the recorded runs that are stale or missing; RUN=name for one
# make reproduce   makes the recorded runs again and compares; RUN=name for one
# make clean       removes what these made, but neither .venv nor finished records
#
# All first set up what they need: a virtual environment in .venv, and, for root on
# Debian, the LaTeX packages and FashionMNIST; for the tests, Chromium as well.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

LATEX_COMMANDS := lualatex latexmk kpsewhich
LATEX_FILES := scrreprt.cls tcolorbox.sty fvextra.sty unicode-math.sty amsthm.sty \
  caption.sty needspace.sty accsupp.sty \
  lmroman10-regular.otf latinmodern-math.otf
DEBIAN_PACKAGES := latexmk lmodern texlive-luatex texlive-latex-recommended \
  texlive-latex-extra texlive-fonts-recommended dataset-fashion-mnist \
  $(shell $(PYTHON) -c 'import ensurepip' 2>/dev/null || echo python3-venv)

BROWSERS := chromium chromium-browser google-chrome

.PHONY: report test test-faults submission record reproduce latex chromium clean

report: .venv/ready
	@$(BIN)/python -m portable $(if $(FRESH),--fresh)

test: .venv/ready chromium
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest

test-faults: .venv/ready chromium
	$(BIN)/pytest -m fault --faults=records/faults.json

submission: .venv/ready
	@$(BIN)/python -m book.submission

# glibc would give large blocks of memory back to the system and ask for them again at
# every step, which costs a tenth of the time of training on images. Of reviews, whose
# batches differ in size, it would keep many times the memory that is in use.
ifneq ($(filter vit-% dense% peers,$(RUN)),)
record reproduce: export MALLOC_MMAP_MAX_ := 0
record reproduce: export MALLOC_TRIM_THRESHOLD_ := 2147483647
endif
record reproduce: .venv/ready
	@$(BIN)/python -m hw2 $@ $(RUN)

.venv/ready: pyproject.toml requirements.txt | latex
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
	  { echo "Python 3.11 or 3.12 is needed; $(PYTHON) is another one. Say make PYTHON=..."; exit 1; }
	@echo "Installing the Python packages into .venv: a few minutes, 6 GB"
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes --requirement requirements.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

latex:
	@apt() { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; \
	images() { [ -n "$$HW2_FASHION_MNIST" ] || [ -d /usr/share/datasets/fashion-mnist ]; }; \
	if which $(LATEX_COMMANDS) >/dev/null 2>&1 && kpsewhich $(LATEX_FILES) >/dev/null \
	  && { images || ! apt; }; then \
	  exit 0; \
	elif apt; then \
	  echo "Installing LaTeX and FashionMNIST: a minute or two"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -qq --no-install-recommends $(DEBIAN_PACKAGES) >/dev/null; \
	else \
	  echo "LaTeX, or a part of it, is missing. On Debian or Ubuntu, run"; \
	  echo "  sudo apt-get install --no-install-recommends $(DEBIAN_PACKAGES)"; \
	  echo "and then make again."; \
	  exit 1; \
	fi

# Without it the tests in a browser are skipped, and say so.
chromium:
	@for browser in $(BROWSERS); do \
	  command -v $$browser >/dev/null && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium: a minute"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -qq --no-install-recommends chromium >/dev/null && exit 0; \
	fi; \
	echo "Chromium is missing, so the tests in a browser are skipped."

clean:
	rm -rf _book ._book-* _draft _freeze .portable submission .submission-* records/.[a-z]* .quarto .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/screenshots
