# run · report-pdf · test · test-live · lab · bench · clean: each that needs .venv builds it first when it is missing.
PYTHON ?= python3
UV     := .venv/bin/uv
ARGS   ?=
RUN    ?= runs/latest
CHROME := chromium chromium-browser google-chrome google-chrome-stable chrome

.PHONY: run report-pdf test test-live lab bench clean lock

run: .venv/run.stamp
	@.venv/bin/python -m lib.run $(ARGS)

# The report of a run as report.pdf beside it; RUN names the run's folder. Chromium refuses its sandbox to root.
report-pdf:
	@say() { echo "$$1" >&2; exit 2; }; \
	cd "$(RUN)" 2>/dev/null && test -f report.html || say "There is no $(RUN)/report.html; make run makes one, or name a run's folder with RUN=."; \
	browser=$$(for name in $(CHROME); do command -v $$name && break; done) || say "No Chromium or Chrome is installed here; install one, or print $(RUN)/report.html from any browser."; \
	"$$browser" --headless $$(test $$(id -u) != 0 || echo --no-sandbox) --no-pdf-header-footer --print-to-pdf=part.pdf report.html >/dev/null 2>&1 \
	    && mv part.pdf report.pdf 2>/dev/null || { rm -f part.pdf; say "$$browser did not print $(RUN)/report.html."; }; \
	echo "$(RUN)/report.pdf"

test: .venv/test.stamp
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/python -m pytest $(ARGS)

# Against a real AWS account, which it charges; asks first, and removes everything at the end.
test-live: .venv/test.stamp
	@.venv/bin/python -m tests.live $(ARGS)

lab: .venv/run.stamp
	@.venv/bin/jupyter lab --notebook-dir=notebooks $(ARGS)

# Against the peers, which need an environment of their own.
bench: .venv/run.stamp .venv-bench/bench.stamp
	@.venv/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv .venv-bench data/sample data/sample.duckdb data/sample.duckdb.wal runs .pytest_cache .ruff_cache .hypothesis

# For maintainers: resolves the pins anew, with the hash of each of their files.
compile = $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

lock: .venv/run.stamp
	@$(compile) pyproject.toml --extra install -o requirements.lock
	@$(compile) pyproject.toml --extra install --extra test -c requirements.lock -o tests/requirements.lock
	@$(compile) benchmarks/requirements.in -o benchmarks/requirements.lock

# uv is three times as fast as pip; where it can't reach the registry, pip's own settings may.
# Nothing is installed whose hash is not in the lock.
install = $(UV) pip install -q --python $(1) --system-certs --no-deps --require-hashes --compile-bytecode -r $(2) \
	|| $(1)/bin/python -m pip install -q --no-deps --require-hashes -r $(2)

.venv/run.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is %s. Name another one: make PYTHON=python3.12" % sys.version.split()[0])'
	@echo "Building .venv (once, under a minute) …"
	@$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >.venv/uv.lock
	@.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r .venv/uv.lock
	@$(call install,.venv,requirements.lock)
	@.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/test.stamp: .venv/run.stamp tests/requirements.lock
	@$(call install,.venv,tests/requirements.lock)
	@touch $@

.venv-bench/bench.stamp: .venv/run.stamp benchmarks/requirements.lock
	@echo "Building .venv-bench, what the peers need (once, a minute or two) …"
	@$(PYTHON) -m venv .venv-bench
	@$(call install,.venv-bench,benchmarks/requirements.lock)
	@touch $@
