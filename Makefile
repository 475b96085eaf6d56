# GNU make 3.81 (macOS) and newer.
SHELL = /bin/sh
CARGO ?= cargo
# Tests need the points where they kill the program or let it fail; no other build has them.
FOR_TESTS = --features faults

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests lint test test-full soak defects demo bench

help: ## This list
	@echo "make targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' Makefile

setup: ## Install PostgreSQL's server programs, if they are missing
	@sh deploy/setup/postgres.sh

setup-tests: setup
	@sh deploy/setup/nextest.sh

lint: ## Formatting, clippy, and the production build without the demonstration
	@echo "== formatting"
	$(CARGO) fmt --check
	@echo "== clippy"
	$(CARGO) clippy $(FOR_TESTS) --all-targets -- -D warnings
	@echo "== the production build, without the demonstration"
	$(CARGO) check --no-default-features

test: setup-tests lint ## Every check and every test; it installs what they need
	@echo "== tests"
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo "$(CARGO) nextest run $(FOR_TESTS)"; $(CARGO) nextest run $(FOR_TESTS); \
	else \
		echo "cargo-nextest is not there: $(CARGO) test takes its place"; \
		$(CARGO) test $(FOR_TESTS) --lib --bins --tests; \
	fi
	@if grep -rqE '^[[:space:]]*//[/!] ```' src; then \
		echo "== examples in the documentation"; $(CARGO) test $(FOR_TESTS) --doc; \
	fi
	@echo "== all passed"

test-full: setup-tests ## The tests at their full size: 20,000 contacts, 100 kills, the release build; half an hour
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo "$(CARGO) nextest run $(FOR_TESTS) --release --profile full"; \
		KORESYNC_TEST_CONTACTS=20000 KORESYNC_TEST_KILLS=100 $(CARGO) nextest run $(FOR_TESTS) --release --profile full; \
	else \
		echo "cargo-nextest is not there: $(CARGO) test takes its place"; \
		KORESYNC_TEST_CONTACTS=20000 KORESYNC_TEST_KILLS=100 \
			$(CARGO) test $(FOR_TESTS) --release --lib --bins --tests -- --test-threads=1; \
	fi

soak: setup-tests ## Random sequences against the model: SEEDS=1000, from SEED=… on, JOBS=4 at once
	@FOR_TESTS='$(FOR_TESTS)' CARGO='$(CARGO)' SEEDS='$(SEEDS)' SEED='$(SEED)' JOBS='$(JOBS)' sh tests/model/soak.sh

defects: setup-tests ## Plants each known defect in turn, and proves that a test catches it (ONLY=name: one)
	@FOR_TESTS='$(FOR_TESTS)' CARGO='$(CARGO)' ONLY='$(ONLY)' sh tests/defects/run.sh

demo: setup ## A private PostgreSQL, a simulated vendor, the daemon and its status page
	$(CARGO) run --release -- demo

bench: setup ## What it costs, against COPY alone and by hand; half an hour (SECTIONS=fresh CONTACTS=20000 RUNS=3: less)
	@SECTIONS='$(SECTIONS)' CONTACTS='$(CONTACTS)' RUNS='$(RUNS)' HELD='$(HELD)' $(CARGO) bench --bench bench
	@case '$(SECTIONS)' in ''|*normalise*) $(CARGO) bench --bench normalise;; esac
