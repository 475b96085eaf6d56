# GNU make 3.81 (macOS) and newer.
SHELL = /bin/sh
CARGO ?= cargo
# Tests need the points where they kill the program or let it fail; no other build has them.
FOR_TESTS = --features faults

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests lint deny test test-full soak defects upgrade-check citus-check fuzz fuzz-guided mutants demo bench deploy-check alerts-check schema bi page-check otel-check

help: ## This list
	@echo "make targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

setup: ## Install PostgreSQL's server programs, if they are missing
	@sh deploy/setup/postgres.sh

setup-tests: setup
	@sh deploy/setup/cargo-tool.sh nextest
	@sh deploy/setup/pgbouncer.sh

lint: ## Formatting, clippy, and the production build without the demonstration
	@echo "== formatting"
	$(CARGO) fmt --check
	@echo "== clippy"
	$(CARGO) clippy $(FOR_TESTS),otel --all-targets -- -D warnings
	@echo "== the production build, without the demonstration"
	$(CARGO) clippy --no-default-features -- -D warnings

# Where `cargo deny fetch` puts its copy.
ADVISORIES = $${CARGO_HOME:-$$HOME/.cargo}/advisory-dbs
deny: ## Licences, banned crates, sources and known advisories of what is linked in (deny.toml), offline
	@sh deploy/setup/cargo-tool.sh deny
	@echo "== what is linked in"
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
		echo "NOT CHECKED: licences, bans and sources, since cargo-deny is not there"; exit 0; \
	fi; \
	$(CARGO) fetch --locked --quiet || echo "some crates of other platforms may be missing: cargo fetch has failed"; \
	checks="bans licenses sources"; \
	if ls -d $(ADVISORIES)/advisory-db-*/ >/dev/null 2>&1; then checks="$$checks advisories"; \
	else echo "NOT CHECKED: advisories, since no database of them is on this machine (cargo deny fetch gets one)"; fi; \
	echo "$(CARGO) deny --offline check $$checks"; $(CARGO) deny --offline check $$checks

test: setup-tests lint deny ## Every check and every test; it installs what they need
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

upgrade-check: setup-tests ## An older version (OLD=commit; else the one before the newest migration) works beside this one
	@FOR_TESTS='$(FOR_TESTS)' CARGO='$(CARGO)' OLD='$(OLD)' CONTACTS='$(CONTACTS)' sh tests/upgrades/run.sh

citus-check: setup-tests ## Tests on a Citus cluster of three nodes (TESTS=a filter); needs Citus for the PostgreSQL of pg_config
	@FOR_TESTS='$(FOR_TESTS)' CARGO='$(CARGO)' TESTS='$(TESTS)' sh tests/citus/run.sh

fuzz: ## Fuzz the reader and the mapper on all cores: a minute, or SECONDS=3600, or EXECUTIONS=1000000 (SEED, REPLAY: again)
	@SECONDS='$(SECONDS)' EXECUTIONS='$(EXECUTIONS)' SEED='$(SEED)' REPLAY='$(REPLAY)' CORES='$(CORES)' \
		$(CARGO) bench --profile fuzz --bench fuzzer

# Choices that make a case, then bare bytes that begin with the corpus; `none`: a sanitizer needs nightly, and no code here is unsafe.
GUIDED = fuzz run --fuzz-dir tests/fuzz/guided --sanitizer none --target-dir $(CURDIR)/target/guided
fuzz-guided: ## The same, guided by coverage: a minute each, or SECONDS=3600 (needs cargo-fuzz)
	@if ! $(CARGO) fuzz --version >/dev/null 2>&1; then \
		echo "NOT RUN: cargo-fuzz is not there (cargo install --locked cargo-fuzz)"; exit 0; \
	fi; \
	mkdir -p target/guided/choices target/guided/bytes; \
	for_seconds="-max_total_time=$(if $(SECONDS),$(SECONDS),60)"; \
	$(CARGO) $(GUIDED) choices target/guided/choices -- -max_len=8000 $$for_seconds && \
	$(CARGO) $(GUIDED) bytes target/guided/bytes tests/fuzz/corpus -- $$for_seconds

mutants: ## Which changes of the code the unit tests do not notice (.cargo/mutants.toml); hours (needs cargo-mutants)
	@if ! $(CARGO) mutants --version >/dev/null 2>&1; then \
		echo "NOT RUN: cargo-mutants is not there (cargo install --locked cargo-mutants)"; exit 0; \
	fi; \
	nice -n 19 $(CARGO) mutants --jobs 1 --output target

deploy-check: ## Units, overlays, alerts and Dockerfile in deploy/, with the tools that are on this machine
	@sh deploy/check.sh

alerts-check: setup ## Drives each alert by a real fault under a real Prometheus; a quarter of an hour (needs prometheus, python3)
	@CARGO='$(CARGO)' PROGRAM='$(PROGRAM)' KEEP='$(KEEP)' sh tests/alerts/run.sh

schema: setup ## Makes deploy/schema and the sources of deploy/dbt anew, from the schema that the migrations make
	@KORESYNC_WRITE_SCHEMA=1 $(CARGO) test $(FOR_TESTS) --test suite -- --exact commands::schema::what_deploy_says_of_the_schema_is_what_the_database_says

bi: setup ## What BI tools make of the warehouse: dbt, Superset, SQLAlchemy, JDBC (needs python3, java; installs the rest under target/bi)
	@CARGO='$(CARGO)' sh tests/bi/run.sh

demo: setup ## A private PostgreSQL, a simulated vendor, the daemon and its status page
	$(CARGO) run --release -- demo

page-check: setup ## The status page in headless Chromium; pictures go to target/browser (needs node, npm and Chromium)
	@CARGO='$(CARGO)' sh tests/browser/run.sh

otel-check: setup-tests ## Spans reach a collector (feature otel)
	$(CARGO) nextest run $(FOR_TESTS),otel --test suite -E 'test(/^traces::/)'

bench: setup ## What it costs, against COPY alone and by hand; half an hour (SECTIONS=fresh CONTACTS=20000 RUNS=3: less)
	@SECTIONS='$(SECTIONS)' CONTACTS='$(CONTACTS)' RUNS='$(RUNS)' HELD='$(HELD)' $(CARGO) bench --bench bench
	@case '$(SECTIONS)' in ''|*normalise*) $(CARGO) bench --bench normalise;; esac
